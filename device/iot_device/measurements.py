"""What a device measures: the declared members of a reading, each with its type and limits.

The same declaration configures the receiver. One value of a reading is a number (exact, within what DynamoDB can hold),
an integer, a boolean or a string.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import Any

Value = Decimal | int | float | bool | str
TEMPERATURE = {"temp": {"attribute": "temperature", "type": "number", "required": True}}
TYPES = ("number", "integer", "boolean", "string")
NUMBERS = TYPES[:2]
RESERVED = ("deviceId", "ts", "messageId")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
DIGITS, EXPONENTS = 38, range(-130, 126)
STRING_LENGTH = 256  # characters of a string without max_length, as the receiver has it


class InvalidError(ValueError):
    """A declaration or a value is invalid; the message names the fix."""


@dataclass(frozen=True)
class Measurement:
    """One member of a reading. `attribute` is what the receiver stores it as."""

    name: str
    type: str = "number"
    attribute: str = ""
    required: bool = False
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    unit: str = ""
    max_length: int | None = None

    def check(self, value: Value) -> Value:
        """Return the value. Raises InvalidError if it is not of this type or beyond the limits."""
        _CHECKS[self.type](self, value)
        return value

    def _check_boolean(self, value: Value) -> None:
        if not isinstance(value, bool):
            raise InvalidError(f"{self.name} {value!r} must be true or false")

    def _check_string(self, value: Value) -> None:
        length = self.max_length or STRING_LENGTH
        if not isinstance(value, str) or len(value) > length:
            raise InvalidError(f"{self.name} {str(value)[:50]!r} must be a string of at most {length} characters")
        if any("\ud800" <= character <= "\udfff" for character in value):  # which no UTF-8 has
            raise InvalidError(f"{self.name} {value[:50]!r} has half of a surrogate pair")

    def _check_number(self, value: Value) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise InvalidError(f"{self.name} {str(value)[:50]!r} must be a number")
        number = Decimal(str(value))
        digits = "".join(map(str, number.as_tuple().digits)).rstrip("0")
        if not number.is_finite() or len(digits) > DIGITS or number.adjusted() not in EXPONENTS:
            raise InvalidError(
                f"{self.name} {str(value)[:50]} must be a number of at most {DIGITS} digits, 1E-130 to 9.9E+125"
            )
        if self.type == "integer" and number != number.to_integral_value():
            raise InvalidError(f"{self.name} {value} must be a whole number")
        if self.minimum is not None and number < self.minimum:
            raise InvalidError(f"{self.name} {value} is below its minimum {self.minimum}")
        if self.maximum is not None and number > self.maximum:
            raise InvalidError(f"{self.name} {value} is above its maximum {self.maximum}")


_CHECKS: dict[str, Callable[[Measurement, Value], None]] = {
    "number": Measurement._check_number,
    "integer": Measurement._check_number,
    "boolean": Measurement._check_boolean,
    "string": Measurement._check_string,
}


class Measurements(dict[str, Measurement]):
    """The declared measurements by name, in order."""

    def __init__(self, declared: str | Mapping[str, Any]) -> None:
        """Read a declaration, a mapping or JSON. Raises InvalidError."""
        try:
            given = json.loads(declared, parse_float=Decimal) if isinstance(declared, str) else declared
        except (RecursionError, InvalidOperation) as error:
            raise InvalidError(f"they are nested too deep, or a limit is beyond every number ({error})") from error
        if not isinstance(given, Mapping) or not given:
            raise InvalidError('they must be a mapping such as {"temp": {"type": "number"}}')
        super().__init__({name: _measurement(name, one) for name, one in given.items()})
        self._declared = given

    def __str__(self) -> str:
        return json.dumps(self._declared, default=float)

    def parse(self, text: str) -> dict[str, Value]:
        """Return the values of a sensor's output: one number, or a JSON object of measurements. Raises InvalidError."""
        text = text.strip()
        if NUMBER.fullmatch(text):
            try:
                number = Decimal(text)
            except InvalidOperation as error:  # its exponent has more than 18 digits
                raise InvalidError(f"{text[:50]} is beyond every number") from error
            return self.number(number)
        try:
            values = json.loads(text, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_once)
        except (ValueError, RecursionError, InvalidOperation) as error:
            raise InvalidError(f"it is neither a number nor JSON ({error})") from error
        if not isinstance(values, dict):
            raise InvalidError("it is neither a number nor a JSON object of measurements")
        return self.check({name: value for name, value in values.items() if value is not None})

    def number(self, value: Decimal | float) -> dict[str, Value]:
        """Return the values of a reading that is one number: the first measurement of a number."""
        for one in self.values():
            if one.type in NUMBERS:
                return self.check({one.name: value})
        raise InvalidError(f"no measurement is a number: they are {', '.join(self)}")

    def check(self, values: Mapping[str, Any]) -> dict[str, Value]:
        """Return the values in the declared order. Raises InvalidError if one is missing, undeclared or invalid."""
        if unknown := sorted(values.keys() - self.keys()):
            raise InvalidError(f"{_are(unknown)} not declared: measurements has {', '.join(self)}")
        if missing := [one.name for one in self.values() if one.required and one.name not in values]:
            raise InvalidError(f"{_are(missing)} missing")
        if not values:
            raise InvalidError("it has no measurement")
        return {name: one.check(values[name]) for name, one in self.items() if name in values}


def shown(values: Mapping[str, Value], measurements: Measurements) -> str:
    """Return values with their units, for people."""
    return ", ".join(f"{name} {text(value)} {measurements[name].unit}".rstrip() for name, value in values.items())


def text(value: Value) -> str:
    """Return a value as JSON, a number with all its digits. Raises ValueError for what JSON cannot hold."""
    if isinstance(value, Decimal) and value.is_finite():
        return str(value)
    return json.dumps(value, allow_nan=False)


def _measurement(name: str, given: Any) -> Measurement:
    known = {one.name for one in fields(Measurement)} - {"name"}
    if not isinstance(given, Mapping) or given.get("type", "number") not in TYPES:
        raise InvalidError(f"{name} must be a mapping whose type is one of {', '.join(TYPES)}")
    if name in RESERVED or name.startswith("iot_"):
        raise InvalidError(f"{name} is reserved: choose another name")
    if unknown := sorted(given.keys() - known):
        raise InvalidError(f"{name} has {', '.join(unknown)}; it may have {', '.join(sorted(known))}")
    limits = {one: given[one] for one in ("minimum", "maximum") if given.get(one) is not None}
    for limit, value in limits.items():
        is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        if given.get("type", "number") not in NUMBERS or not is_number:
            raise InvalidError(f"{name}'s {limit} {value!r} must be a number, of a number or integer")
    if len(limits) == 2 and limits["minimum"] > limits["maximum"]:
        raise InvalidError(f"{name}'s minimum {limits['minimum']} is above its maximum {limits['maximum']}")
    if not isinstance(given.get("required", False), bool):
        raise InvalidError(f"{name}'s required must be true or false")
    length = given.get("max_length")
    if length is not None and (given.get("type") != "string" or type(length) is not int or length < 1):
        raise InvalidError(f"{name}'s max_length {length!r} must be a whole number above 0, of a string")
    return Measurement(name, **(dict(given) | {one: Decimal(str(value)) for one, value in limits.items()}))


def _are(names: list[str]) -> str:
    return f"{', '.join(names)[:200]} {'is' if len(names) == 1 else 'are'}"


def _refuse(name: str) -> None:
    raise InvalidError(f"JSON has no {name}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise InvalidError("a member is there twice")
    return values
