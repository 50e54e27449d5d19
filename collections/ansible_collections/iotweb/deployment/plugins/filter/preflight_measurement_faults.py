# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds mistakes in the measurements that an inventory declares: see preflight_measurement_faults.yml."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

EXAMPLE = "{temp: {attribute: temperature, type: number, required: true}}"
MEASURED = "measurements is set in group_vars/all/iot.yml."
# The keys of a measurement that go with its type, beside attribute, type, required and unit.
LIMITS: dict[str, tuple[str, ...]] = {
    "number": ("minimum", "maximum"),
    "integer": ("minimum", "maximum"),
    "boolean": (),
    "string": ("max_length",),
}
RESERVED_MEMBERS = ("deviceId", "messageId", "ts")
# The row's own, and `Time`.
RESERVED_ATTRIBUTES = ("Time", "clock_skew_ms", "deviceId", "received_at", "trace_id", "ttl")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
MOST = 50  # measurements, as the receiver takes
LONGEST_STRING = 4_096  # characters


def preflight_measurement_faults(measurements: Any) -> list[str]:
    """One sentence for each fault in the variable `measurements`, with its fix."""
    if not isinstance(measurements, Mapping) or not 0 < len(measurements) <= MOST:
        return [
            f"measurements must map 1 to {MOST} members of a message to what is stored: {EXAMPLE}. {MEASURED}"
        ]
    found = {str(name): spec for name, spec in measurements.items()}
    faults = [fault for name, spec in found.items() for fault in member_faults(name, spec)]
    members: dict[str, list[str]] = {}
    for name, spec in found.items():
        if isinstance(spec, Mapping):
            members.setdefault(str(spec.get("attribute", name)), []).append(name)
    return faults + [
        f"measurements: {' and '.join(names)} have the same attribute, {attribute}. Give each its own. {MEASURED}"
        for attribute, names in members.items()
        if len(names) > 1
    ]


def member_faults(name: str, spec: Any) -> Iterator[str]:
    """Faults of one measurement."""
    where = f"measurements.{name}"
    if not isinstance(spec, Mapping):
        yield f"{where} must be a mapping such as {{attribute: temperature, type: number}}. {MEASURED}"
        return
    attribute, kind = spec.get("attribute", name), spec.get("type", "number")
    for what, text in ((where, name), (f"{where}.attribute ({attribute})", attribute)):
        if not isinstance(text, str) or not NAME.fullmatch(text):
            yield f"{what} must have 1 to 64 letters, digits, _, . or -, and begin with a letter or _. {MEASURED}"
    if name in RESERVED_MEMBERS or name.startswith("iot_"):
        yield f"{where} is a member that messages use for something else. Rename the measurement. {MEASURED}"
    if attribute in RESERVED_ATTRIBUTES or str(attribute).startswith("iot_"):
        yield f"{where}.attribute ({attribute}) is an attribute that rows use for something else. Rename it. {MEASURED}"
    if not isinstance(kind, str) or kind not in LIMITS:
        yield f"{where}.type ({kind}) must be one of {', '.join(LIMITS)}. {MEASURED}"
        return
    allowed = ["attribute", "type", "required", "unit", *LIMITS[kind]]
    for key in sorted(set(spec) - set(allowed), key=str):
        yield f"{where}.{key} has no meaning for type {kind}, which takes {', '.join(allowed)}. Remove it. {MEASURED}"
    if not isinstance(spec.get("required", False), bool):
        yield f"{where}.required ({spec['required']}) must be true or false, not text. {MEASURED}"
    if not isinstance(spec.get("unit", ""), str):
        yield f"{where}.unit ({spec['unit']}) must be text, such as °C. {MEASURED}"
    yield from limit_faults(where, {key: spec[key] for key in LIMITS[kind] if key in spec})


def limit_faults(where: str, limits: Mapping[str, Any]) -> Iterator[str]:
    """Limits that are no numbers, or that no value can satisfy."""
    for key, value in limits.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole and not (isinstance(value, float) and math.isfinite(value)):
            yield f"{where}.{key} ({value}) must be a number. {MEASURED}"
            return
    if "minimum" in limits and "maximum" in limits and limits["minimum"] > limits["maximum"]:
        yield f"{where}: minimum {limits['minimum']} is above maximum {limits['maximum']}. {MEASURED}"
    length = limits.get("max_length", 1)
    if not isinstance(length, int) or not 1 <= length <= LONGEST_STRING:
        yield f"{where}.max_length ({length}) must be a whole number from 1 to {LONGEST_STRING}. {MEASURED}"


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"preflight_measurement_faults": preflight_measurement_faults}
