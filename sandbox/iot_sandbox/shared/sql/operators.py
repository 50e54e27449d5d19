"""Operators of rule SQL: https://docs.aws.amazon.com/iot/latest/developerguide/iot-sql-operators.html"""

from __future__ import annotations

import operator
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from iot_sandbox.shared.sql.values import (
    ARITHMETIC,
    UNDEFINED,
    Value,
    is_number,
    shortened,
    to_boolean,
    to_number,
    to_text,
    type_name,
)

_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def compare(sign: str, left: Value, right: Value) -> Value:
    """The comparison operators; Undefined if an operand is Undefined or has no order."""
    if left is UNDEFINED or right is UNDEFINED:
        return UNDEFINED
    if sign in _ORDER:
        left, right = to_number(left), to_number(right)
        return UNDEFINED if left is UNDEFINED or right is UNDEFINED else _ORDER[sign](left, right)
    return equal(left, right) == (sign == "=")


def equal(left: Value, right: Value) -> bool:
    """Equality: numbers by value, everything else also by type."""
    if type_name(left) != type_name(right):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return bool(left == right)


def calculate(sign: str, left: Value, right: Value) -> Value:
    """Arithmetic, and concatenation by ``+``; Undefined where it has no meaning (division by zero is one)."""
    if sign == "+" and (isinstance(left, str) or isinstance(right, str)):
        texts = [to_text(left), to_text(right)]
        return UNDEFINED if UNDEFINED in texts else "".join(texts)
    left, right = to_number(left), to_number(right)
    if left is UNDEFINED or right is UNDEFINED:
        return UNDEFINED
    try:
        if isinstance(left, int) and isinstance(right, int):
            return to_number(_calculate_integers(sign, left, right))
        return shortened(_DECIMAL[sign](left, right))
    except ArithmeticError:
        return UNDEFINED


def _calculate_integers(sign: str, left: int, right: int) -> int:
    """Integers stay integers; quotient and remainder are cut towards zero, as in Java."""
    if sign in "+-*":
        return int(_INTEGER[sign](left, right))
    quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
    return quotient if sign == "/" else left - quotient * right


_INTEGER: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_DECIMAL: dict[str, Callable[[Any, Any], Any]] = {
    "+": ARITHMETIC.add,
    "-": ARITHMETIC.subtract,
    "*": ARITHMETIC.multiply,
    "/": ARITHMETIC.divide,
    "%": ARITHMETIC.remainder,
}


def logical(sign: str, left: Value, right: Value) -> Value:
    """AND and OR; Undefined unless both operands are Booleans or strings that spell one."""
    left, right = to_boolean(left), to_boolean(right)
    if left is UNDEFINED or right is UNDEFINED:
        return UNDEFINED
    return (left and right) if sign == "and" else (left or right)


def negate(value: Value) -> Value:
    """NOT; Undefined for what is no Boolean."""
    boolean = to_boolean(value)
    return UNDEFINED if boolean is UNDEFINED else not boolean


def signed(sign: str, value: Value) -> Value:
    """A number with its sign; Undefined for what is no number."""
    if not is_number(value):
        return UNDEFINED
    if sign == "+":
        return value
    return value.copy_negate() if isinstance(value, Decimal) else -value


def member(value: Value, key: Value) -> Value:
    """A member of an object by its key, or of an array by its index from 0; otherwise Undefined."""
    if isinstance(value, dict) and isinstance(key, str):
        return value.get(key, UNDEFINED)
    if isinstance(value, list) and isinstance(key, int) and not isinstance(key, bool) and 0 <= key < len(value):
        return value[key]
    return UNDEFINED
