# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whose a resource is: what carries other tags than the caller's is never changed, attached or deleted."""

from __future__ import annotations

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.tags import as_text

# Options of the fragment iotweb.aws_iot.owner.
OWNER_OPTIONS: dict[str, Any] = {
    "owner": {"type": "dict"},
    "owner_advice": {"default": "Give another name, or take it over with adopt: true if it has no owner."},
    "adopt": {"type": "bool", "default": False},
}
ENDING = ("absent", "disabled", "revoked")


def owner_of(params: dict[str, Any]) -> dict[str, str]:
    """Return the tags that the caller's resources have; none where the task names no owner."""
    return as_text(params["owner"] or {})


def with_owner(params: dict[str, Any], option: str) -> dict[str, Any]:
    """Return the module's options with the owner among its tags, or its thing's attributes."""
    owner = owner_of(params)
    if not owner:
        return params
    # What the task leaves as it is must not be purged for the owner's sake.
    purge = {f"purge_{option}": params[f"purge_{option}"] and params[option] is not None}
    return {**params, **purge, option: {**(params[option] or {}), **owner}}


def difference(tags: dict[str, str], params: dict[str, Any]) -> str:
    """Return by which tags a resource is somebody else's; empty for the caller's, and for one to be adopted."""
    owner = owner_of(params)
    if params["adopt"] and not set(owner) & set(tags):
        return ""
    others = [key for key in owner if tags.get(key) != owner[key]]
    parts = [f"{key} is {tags[key]}" if key in tags else f"{key} is not set" for key in others]
    return f"{' and '.join(parts)}, not {', '.join(owner.values())}" if parts else ""


def may_touch(module: AnsibleAWSModule, what: str, tags: dict[str, str] | None) -> bool:
    """Return whether a resource, None for none, is the caller's.

    One of somebody else ends the module; where it was to be removed or switched off, it is left with a warning.
    """
    found = "" if tags is None else difference(tags, module.params)
    if not found:
        return True
    message = f"{what} belongs to somebody else ({found}) and was left as it is. {module.params['owner_advice']}"
    if module.params.get("state", "absent") not in ENDING:
        module.fail_json(msg=message)
    module.warn(message)
    return False
