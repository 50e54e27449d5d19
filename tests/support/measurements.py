"""Declared measurements that preflight and the receiver must judge alike, each in an environment of its own.

Preflight may refuse more, such as an attribute that begins with iot_, but never less: what it lets pass and the
receiver refuses would be found only by a rollout that fails.
"""

from typing import Any

ACCEPTED: dict[str, dict[str, Any]] = {
    "the default": {"temp": {"attribute": "temperature", "type": "number", "required": True}},
    "every key": {
        "temp": {"attribute": "t", "type": "number", "required": True, "minimum": -40.5, "maximum": -1, "unit": "°C"},
        "count": {"attribute": "c", "type": "integer", "required": False, "minimum": 0, "maximum": 10**20},
        "door": {"attribute": "door_open", "type": "boolean", "unit": ""},
        "state": {"type": "string", "max_length": 20},
    },
    "no key": {"humidity": {}},
    "64 characters": {"a" * 64: {"attribute": "A" * 64}},
    "every character": {"_a.b-C9": {}},
    "names of others' attributes": {"Time": {"attribute": "mine"}, "trace_id": {"attribute": "yours"}},
    "the longest string": {"state": {"type": "string", "max_length": 4096}},
    "a wide limit": {"temp": {"minimum": -(10**400), "maximum": 1e300}},
    "one value": {"temp": {"minimum": 3, "maximum": 3}},
    "50": {f"m{number}": {} for number in range(50)},
}
_NO_NAMES: list[Any] = ["a b", "a\n", "9a", "ä", "a" * 65, "a" * 255, 3, None, ["a"], {"a": 1}]
_NO_TYPES: list[Any] = ["float", "Number", "", None, 3, ["number"], {}]
_NO_LIMITS: list[Any] = ["low", True, float("nan"), float("inf"), []]
_NO_LENGTHS: list[Any] = [0, -1, 4097, 2.5, "3", True, []]
_NO_FLAGS: list[Any] = ["yes", 1, None]
_NO_UNITS: list[Any] = [3, True, []]
REFUSED: dict[str, Any] = {
    "none": {},
    "51": {f"m{number}": {} for number in range(51)},
    "a list": ["temp"],
    "text": "temp",
    "null": None,
    "a measurement that is text": {"temp": "number"},
    "a measurement that is null": {"temp": None},
    **{f"member {name}": {name: {"attribute": "mine"}} for name in ("deviceId", "ts", "messageId", "iot_payload")},
    **{
        f"attribute {name}": {"temp": {"attribute": name}}
        for name in ("deviceId", "Time", "received_at", "clock_skew_ms", "trace_id", "ttl")
    },
    "an attribute by its member's name": {"clock_skew_ms": {}},
    **{
        f"name {name[:10]!r}": {name: {"attribute": "mine"}}
        for name in ("", "a b", " a", "a\n", "9a", "-a", ".a", "ä", "a/b", 'a"b', "a" * 65, "a" * 255)
    },
    **{f"attribute {name!r:.12}": {"temp": {"attribute": name}} for name in _NO_NAMES},
    "two of one attribute": {"temp": {"attribute": "t"}, "t": {}},
    **{f"type {kind!r}": {"temp": {"type": kind}} for kind in _NO_TYPES},
    "an unknown key": {"temp": {"limit": 3}},
    "keys of several types": {"temp": {3: 3, "limit": 3}},
    "a key of another type": {"door": {"type": "boolean", "minimum": 0}},
    "a length of a number": {"temp": {"max_length": 3}},
    "a limit of a string": {"state": {"type": "string", "maximum": 3}},
    "a minimum above the maximum": {"temp": {"minimum": 3, "maximum": 2}},
    **{f"required {value!r}": {"temp": {"required": value}} for value in _NO_FLAGS},
    **{f"minimum {value!r}": {"temp": {"minimum": value}} for value in _NO_LIMITS},
    **{f"max_length {value!r}": {"state": {"type": "string", "max_length": value}} for value in _NO_LENGTHS},
    **{f"unit {value!r}": {"temp": {"unit": value}} for value in _NO_UNITS},
}
