"""What devices measure: the declared set, checked at start and compiled into a decoder of readings.

It comes from RECEIVER_MEASUREMENTS, a JSON object from the message's member to the row's attribute:

    {"temp": {"attribute": "temperature", "type": "number", "required": true}}

Keys of a measurement: `attribute` (default: the member's name), `type` (number, integer, boolean or string; default
number), `required` (default false), `minimum` and `maximum` (numbers and integers, inclusive), `unit` (shown only),
`max_length` (strings, in characters; default 256).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec

from iot_receiver import numbers

Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Value = str | bool | None  # a number is its canonical text; None: the message has no such member
ABSENT = msgspec.Raw(b"null")

RESERVED_MEMBERS = frozenset({"deviceId", "ts", "messageId"})
RESERVED_ATTRIBUTES = frozenset({"deviceId", "Time", "received_at", "clock_skew_ms", "trace_id", "ttl"})
MAX_MEASUREMENTS = 50
_LONGEST_NUMBER = 512  # characters; DynamoDB's widest number has 168
_LONGEST_STRING = 4_096
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_STRING_LENGTH = 256


class Measurement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One measurement, as it is declared."""

    attribute: str = ""
    type: Literal["number", "integer", "boolean", "string"] = "number"
    required: bool = False
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    unit: str | None = None
    max_length: int | None = None


Measurements = Mapping[str, Measurement]
DEFAULT_TEXT = '{"temp": {"attribute": "temperature", "type": "number", "required": true}}'


class Reading(msgspec.Struct, gc=False, kw_only=True, rename="camel"):
    """The members of every reading; those that are measured join them, and any other is ignored.

    Numbers stay raw JSON text until they are read exactly: a float would change them.
    """

    device_id: Identifier
    ts: msgspec.Raw = ABSENT
    message_id: Identifier | None = None


class RuleReading(Reading, gc=False, kw_only=True):
    """A reading in the former form, in which the rule named the members and added what only IoT Core has."""

    iot_received_at: msgspec.Raw = msgspec.field(default=ABSENT, name="iot_received_at")
    iot_trace_id: Identifier | None = msgspec.field(default=None, name="iot_trace_id")
    iot_client_id: str | None = msgspec.field(default=None, name="iot_client_id")


R = TypeVar("R", bound=Reading)


def declared(text: str) -> Measurements:
    """Read and check a declared set.

    Raises:
        ValueError: with every fault, and what is expected instead.
    """
    try:
        given = msgspec.json.decode(text, type=dict[str, dict[str, Any]])
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a JSON object of measurements ({error})") from None
    if not 0 < len(given) <= MAX_MEASUREMENTS:
        raise ValueError(f"1 to {MAX_MEASUREMENTS} measurements")
    measurements: dict[str, Measurement] = {}
    faults: list[str] = []
    for name in given:
        try:
            measurement = msgspec.json.decode(_member(text, name), type=Measurement)
        except ValueError as error:
            faults.append(f"{name}: {error}")
            continue
        measurements[name] = msgspec.structs.replace(measurement, attribute=measurement.attribute or name)
        faults += (f"{name}: {fault}" for fault in _faults(name, measurements[name]))
    attributes = [measurement.attribute for measurement in measurements.values()]
    faults += (f"attribute {each} is used twice" for each in sorted({a for a in attributes if attributes.count(a) > 1}))
    if faults:
        raise ValueError(f"measurements that can be stored; {'; '.join(faults)}")
    return measurements


def _member(text: str, name: str) -> msgspec.Raw:
    """One member's own text: its limits are read from there exactly."""
    return msgspec.json.decode(text, type=dict[str, msgspec.Raw])[name]


def _faults(name: str, measurement: Measurement) -> Iterator[str]:
    attribute, kind = measurement.attribute, measurement.type
    if not _NAME.fullmatch(name) or not _NAME.fullmatch(attribute):
        yield "names have 1 to 64 letters, digits, '_', '.' or '-', and begin with a letter or '_'"
    if name in RESERVED_MEMBERS or name.startswith("iot_"):
        yield f"the member is reserved (as are {', '.join(sorted(RESERVED_MEMBERS))} and iot_*): choose another name"
    if attribute in RESERVED_ATTRIBUTES:
        yield f"attribute {attribute} is the row's own: choose none of {', '.join(sorted(RESERVED_ATTRIBUTES))}"
    limits = measurement.minimum, measurement.maximum
    if limits != (None, None) and kind not in {"number", "integer"}:
        yield f"a {kind} has no minimum and no maximum"
    if None not in limits and cast(Decimal, limits[0]) > cast(Decimal, limits[1]):
        yield "minimum is greater than maximum"
    if any(limit is not None and not limit.is_finite() for limit in limits):
        yield "minimum and maximum must be finite"
    if measurement.max_length is not None and kind != "string":
        yield f"a {kind} has no max_length"
    if measurement.max_length is not None and not 1 <= measurement.max_length <= _LONGEST_STRING:
        yield f"max_length must be from 1 to {_LONGEST_STRING}"


DEFAULT = declared(DEFAULT_TEXT)


class Schema:
    """Decodes readings of a declared set."""

    def __init__(self, measurements: Measurements) -> None:
        self.names = tuple(measurements)
        self._fields = [(f"measured_{place}", msgspec.Raw, msgspec.Raw(b"")) for place in range(len(self.names))]
        self._rename = dict(zip((field for field, *_ in self._fields), self.names, strict=True))
        self._readers = [_reader(name, measurement) for name, measurement in measurements.items()]
        self._raws = attrgetter(*(field for field, *_ in self._fields))  # of a single field, it gives the bare value
        self._temp_is_number = "temp" in measurements and measurements["temp"].type == "number"

    def struct(self, base: type[R]) -> type[R]:
        """A class of readings: `base`, and a raw member for each measurement."""
        names = {**_renamed(base), **self._rename}
        made = msgspec.defstruct(base.__name__, self._fields, bases=(base,), rename=names, gc=False, kw_only=True)
        return cast(type[R], made)

    def values(self, reading: Reading) -> tuple[Value, ...]:
        """The measured values, in the order of the declared set.

        Raises:
            ValueError: with the reason, when one can't be stored as declared, or none is there.
        """
        raws = self._raws(reading)
        if len(self._readers) == 1:
            values: tuple[Value, ...] = (self._readers[0](bytes(raws)),)
        else:
            values = tuple([read(bytes(raw)) for read, raw in zip(self._readers, raws, strict=True)])
        if values.count(None) == len(values):
            raise ValueError(f"{' and '.join(self.names)} {'is' if len(self.names) == 1 else 'are'} missing")
        return values

    def canonical(self, values: Sequence[Value]) -> object:
        """What is measured, in the one form that equal readings share; a temperature alone is its number."""
        present = {name: value for name, value in zip(self.names, values, strict=True) if value is not None}
        if self._temp_is_number and present.keys() == {"temp"}:
            return present["temp"]
        return sorted(present.items())


def _renamed(base: type[msgspec.Struct]) -> dict[str, str]:
    return dict(zip(base.__struct_fields__, base.__struct_encode_fields__, strict=True))


def _reader(name: str, measurement: Measurement) -> Callable[[bytes], Value]:
    """What reads the measurement's raw JSON; it raises ValueError with the reason."""
    readers: dict[str, Callable[[str, Measurement], Callable[[bytes], Value]]] = {
        "number": _number,
        "integer": _number,
        "boolean": _boolean,
        "string": _string,
    }
    present, required = readers[measurement.type](name, measurement), measurement.required

    def read(raw: bytes) -> Value:
        if required and not raw:
            raise ValueError(f"{name} is missing")
        return None if not required and raw in {b"", b"null"} else present(raw)

    # A fleet's values repeat; texts may be long.
    return read if measurement.type == "string" else lru_cache(maxsize=8_192)(read)


def _number(name: str, measurement: Measurement) -> Callable[[bytes], str]:
    kind, lowest, highest = measurement.type, measurement.minimum, measurement.maximum
    unit = f" {measurement.unit}" if measurement.unit else ""
    checked = kind == "integer" or (lowest, highest) != (None, None)

    def read(raw: bytes) -> str:
        if raw[:1] not in b"-0123456789":
            raise ValueError(f"{name} is not {'an integer' if kind == 'integer' else 'a number'}")
        if len(raw) > _LONGEST_NUMBER:
            raise ValueError(f"{name} has more than {_LONGEST_NUMBER} characters")
        try:
            text = numbers.canonical(raw.decode())
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
        if checked:
            value = Decimal(text)
            if kind == "integer" and value != value.to_integral_value():
                raise ValueError(f"{name} is not an integer")
            if lowest is not None and value < lowest:
                raise ValueError(f"{name} is below {lowest}{unit}")
            if highest is not None and value > highest:
                raise ValueError(f"{name} is above {highest}{unit}")
        return text

    return read


def _boolean(name: str, _: Measurement) -> Callable[[bytes], bool]:
    def read(raw: bytes) -> bool:
        if raw not in {b"true", b"false"}:
            raise ValueError(f"{name} is neither true nor false")
        return raw == b"true"

    return read


def _string(name: str, measurement: Measurement) -> Callable[[bytes], str]:
    longest = measurement.max_length or _STRING_LENGTH

    def read(raw: bytes) -> str:
        if raw[:1] != b'"':
            raise ValueError(f"{name} is not a string")
        text = msgspec.json.decode(raw, type=str)
        if len(text) > longest:
            raise ValueError(f"{name} has more than {longest} characters")
        return text

    return read
