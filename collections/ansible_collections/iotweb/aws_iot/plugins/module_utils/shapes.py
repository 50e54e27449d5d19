# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Values of templates and YAML made to fit an argument of the API: "10" for a number, 5 for text."""

from __future__ import annotations

import re
from typing import Any

# What the API's own rule is held against: not all of its rules are patterns of Python, nor do all hold.
RULED = ("AttributeName", "AttributeValue", "PolicyName", "RuleName", "ThingName", "ThingTypeName")
SHOWN = 60  # characters of a faulty text that a message needs
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


def faulty_text(value: Any, shape: Any, place: str = "") -> str:
    """Return what is wrong with a name or attribute in a call's arguments, by the API's own rule; empty for nothing."""
    if shape.type_name == "structure":
        parts = [(member, shape.members[name], name) for name, member in value.items()]
    elif shape.type_name == "map":
        parts = [(name, shape.key, f"{place} name") for name in value]
        parts += [(member, shape.value, f"{place} {name}") for name, member in value.items()]
    elif shape.type_name == "list":
        parts = [(member, shape.member, place) for member in value]
    else:
        return _fault(value, shape, place) if shape.name in RULED else ""
    return next((fault for part in parts if (fault := faulty_text(*part))), "")


def _fault(text: str, shape: Any, place: str) -> str:
    longest, pattern = shape.metadata.get("max", 128), shape.metadata.get("pattern", ".*")
    if len(text) <= longest and re.fullmatch(pattern, text, re.ASCII):
        return ""
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return f"{place} {shown} must match {pattern.strip('^$')} and have no more than {longest} characters"
