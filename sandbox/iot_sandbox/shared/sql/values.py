"""Values of rule SQL: JSON with exact numbers, and Undefined.

Types and conversions: https://docs.aws.amazon.com/iot/latest/developerguide/iot-sql-data-types.html
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import Any, Final, TypeAlias

import msgspec


class Undefined:
    """The value of a missing attribute or a meaningless operation; left out of results."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Undefined"


UNDEFINED: Final = Undefined()
Value: TypeAlias = Any  # Undefined | None | bool | int | Decimal | str | list[Value] | dict[str, Value]

ARITHMETIC: Final = Context(prec=34, Emin=-999, Emax=999, traps=[DivisionByZero, InvalidOperation, Overflow])
"""AWS's Decimal: 34 digits, up to 9.99…E999. Without its bounds one message could keep the engine busy for hours."""
INT_LIMIT: Final = 10**ARITHMETIC.prec
"""AWS's Int has 34 digits as well."""

_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?([eE]-?\d+)?")
"""How a string must spell a number: "+5", ".5", " 5 " and "1E+5" are none."""


def shortened(number: Decimal) -> Decimal:
    """A Decimal as SQL version 2016-03-23 writes it: a whole one without a fraction, 10 for 10.0."""
    if number.as_tuple().exponent == 0 or number.adjusted() >= ARITHMETIC.prec or number != number.to_integral_value():
        return number
    return ARITHMETIC.quantize(number, Decimal(1))


def _loaded(text: str) -> Decimal:
    number = Decimal(text)
    return shortened(number) if len(text) <= ARITHMETIC.prec else number


_decoder = msgspec.json.Decoder(float_hook=_loaded)
_encoder = msgspec.json.Encoder(decimal_format="number")


def loads(text: bytes) -> Value:
    """JSON with exact numbers; raises ValueError for what is no JSON."""
    try:
        return _decoder.decode(text)
    except (RecursionError, InvalidOperation) as error:
        raise ValueError("JSON is nested too deeply, or has a number without bounds") from error


def dumps(value: Value) -> bytes:
    """JSON of a value that is not Undefined; members that are Undefined must have been left out."""
    return _encoder.encode(value)


def is_number(value: Value) -> bool:
    """Whether a value is Int or Decimal: in rule SQL, true and false are not numbers."""
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def to_number(value: Value) -> Value:
    """A number, or the number that a string spells, within AWS's bounds; otherwise Undefined."""
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            return UNDEFINED
    elif not is_number(value):
        return UNDEFINED
    elif isinstance(value, int) and -INT_LIMIT < value < INT_LIMIT:
        return value
    try:
        number = ARITHMETIC.create_decimal(value)
    except (InvalidOperation, Overflow):
        return UNDEFINED
    return shortened(number) if number.is_finite() else UNDEFINED


def to_int(number: Value) -> int:
    """A number cut to an Int; raises OverflowError beyond AWS's."""
    if not -INT_LIMIT < number < INT_LIMIT:
        raise OverflowError("An Int has 34 digits at most")
    return int(number)


def to_boolean(value: Value) -> Value:
    """A Boolean, or what the strings true and false (in any case) stand for; otherwise Undefined."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return UNDEFINED


def to_text(value: Value) -> Value:
    """A value as part of a string: strings as they are, everything else as JSON; null has no text."""
    if isinstance(value, str):
        return value
    return UNDEFINED if value is UNDEFINED or value is None else dumps(value).decode()


def clamped(value: Value, most: int) -> Value:
    """The Int from 0 to ``most`` that is nearest to a number, or to one that a string spells; otherwise Undefined."""
    number = to_number(value)
    return number if number is UNDEFINED else int(min(max(number, 0), most))


def type_name(value: Value) -> str:
    """The kind of a value: values of different kinds are never equal."""
    if is_number(value):
        return "number"
    return type(value).__name__
