# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds mistakes in the measurements that an inventory declares: see preflight_measurement_faults.yml."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

EXAMPLE = "{temp: {attribute: temperature, type: number, required: true}}"
MEASURED = "measurements is set in group_vars/all/iot.yml."
# The keys of a measurement that go with its type, beside attribute, type and required.
LIMITS: dict[str, tuple[str, ...]] = {
    "number": ("minimum", "maximum", "unit"),
    "integer": ("minimum", "maximum", "unit"),
    "boolean": (),
    "string": ("max_length",),
}
RESERVED = ("deviceId", "Time", "ts", "messageId", "received_at", "ttl")
NAME_LIMIT = 255  # characters: DynamoDB's, for an attribute's name


def preflight_measurement_faults(measurements: Any) -> list[str]:
    """One sentence for each fault in the variable `measurements`, with its fix."""
    if not isinstance(measurements, Mapping) or not measurements:
        return [f"measurements must map members of a message to what is stored of each: {EXAMPLE}. {MEASURED}"]
    found = {str(name): spec for name, spec in measurements.items()}
    faults = [fault for name, spec in found.items() for fault in member_faults(name, spec)]
    members: dict[str, list[str]] = {}
    for name, spec in found.items():
        if isinstance(spec, dict) and isinstance(spec.get("attribute"), str):
            members.setdefault(spec["attribute"], []).append(name)
    return faults + [
        f"measurements: {' and '.join(names)} have the same attribute, {attribute}. Give each its own. {MEASURED}"
        for attribute, names in members.items()
        if len(names) > 1
    ]


def member_faults(name: str, spec: Any) -> Iterator[str]:
    """Faults of one measurement."""
    where = f"measurements.{name}"
    if not isinstance(spec, dict):
        yield f"{where} must be a mapping such as {{attribute: temperature, type: number}}. {MEASURED}"
        return
    if reserved(name):
        yield f"{where} is a name that messages use for something else. Rename the measurement. {MEASURED}"
    attribute, kind = spec.get("attribute"), spec.get("type")
    if not isinstance(attribute, str) or not 0 < len(attribute) <= NAME_LIMIT:
        yield f"{where}.attribute must name the row's attribute, in at most {NAME_LIMIT} characters. {MEASURED}"
    elif reserved(attribute):
        yield f"{where}.attribute is {attribute}, which rows use for something else. Choose another name. {MEASURED}"
    if kind not in LIMITS:
        yield f"{where}.type ({kind}) must be one of {', '.join(LIMITS)}. {MEASURED}"
        return
    allowed = ["attribute", "type", "required", *LIMITS[kind]]
    for key in sorted(set(spec) - set(allowed)):
        yield f"{where}.{key} has no meaning for type {kind}, which takes {', '.join(allowed)}. Remove it. {MEASURED}"
    if not isinstance(spec.get("required", False), bool):
        yield f"{where}.required ({spec['required']}) must be true or false, not text. {MEASURED}"
    yield from limit_faults(where, spec)


def limit_faults(where: str, spec: dict[str, Any]) -> Iterator[str]:
    """Limits that are no numbers, or that no value can satisfy."""
    numbers = {
        key: spec[key]
        for key in ("minimum", "maximum", "max_length")
        if key in spec and LIMITS[spec["type"]].count(key)
    }
    for key, value in numbers.items():
        whole = key == "max_length" or spec["type"] == "integer"
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            yield f"{where}.{key} ({value}) must be {'a whole number' if whole else 'a number'}. {MEASURED}"
            return
    if "minimum" in numbers and "maximum" in numbers and numbers["minimum"] > numbers["maximum"]:
        yield f"{where}: minimum {numbers['minimum']} is above maximum {numbers['maximum']}. {MEASURED}"
    if numbers.get("max_length", 1) < 1:
        yield f"{where}.max_length ({numbers['max_length']}) must be at least 1. {MEASURED}"
    if not isinstance(spec.get("unit", ""), str):
        yield f"{where}.unit ({spec['unit']}) must be text, such as °C. {MEASURED}"


def reserved(name: str) -> bool:
    """Whether messages, rows or the rule's envelope use a name for something else."""
    return name in RESERVED or name.startswith("iot_")


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"preflight_measurement_faults": preflight_measurement_faults}
