# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values of templates and YAML made to fit an argument of the API: "10" for a number, 5 for text."""

from __future__ import annotations

import re
from typing import Any

NAMES = ("thingName", "thingTypeName", "policyName", "ruleName")
TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")


def fitted(value: Any, shape: Any) -> Any:
    """Return a value in the types of botocore's shape.

    Members that are None are left out, as the API has no null. What does not fit stays, for botocore to refuse.
    """
    if shape.type_name == "structure" and isinstance(value, dict):
        return {
            name: fitted(member, shape.members[name]) if name in shape.members else member
            for name, member in value.items()
            if member is not None
        }
    if shape.type_name == "list" and isinstance(value, (list, tuple)):
        return [fitted(member, shape.member) for member in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {str(name): fitted(member, shape.value) for name, member in value.items() if member is not None}
    return _scalar(value, shape.type_name)


def _scalar(value: Any, kind: str) -> Any:
    if kind == "string" and isinstance(value, bool):
        return str(value).lower()
    if kind == "string" and isinstance(value, (int, float)):
        return str(value)
    if kind in ("integer", "long") and isinstance(value, str) and value.strip().lstrip("-").isdigit():
        return int(value)
    if kind == "boolean" and isinstance(value, str) and value.lower() in TRUE + FALSE:
        return value.lower() in TRUE
    return value


def faulty_name(arguments: dict[str, Any], shape: Any) -> str:
    """Return what is wrong with a name among a call's arguments, by the API's own rule for it; empty for nothing."""
    for argument in NAMES:
        rule = shape.members[argument].metadata if argument in arguments else {}
        name, longest, pattern = str(arguments.get(argument)), rule.get("max", 128), rule.get("pattern", ".*")
        if argument in arguments and (len(name) > longest or not re.fullmatch(pattern, name, re.ASCII)):
            return f"{argument} {name} must match {pattern.strip('^$')} and have no more than {longest} characters"
    return ""
