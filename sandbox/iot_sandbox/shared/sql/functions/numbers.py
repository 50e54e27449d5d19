"""Arithmetic beyond the operators; arguments that are no numbers yield Undefined."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from decimal import Context as DecimalContext

from iot_sandbox.shared.sql.evaluation import Context
from iot_sandbox.shared.sql.functions.registry import function
from iot_sandbox.shared.sql.operators import calculate, signed
from iot_sandbox.shared.sql.values import ARITHMETIC, UNDEFINED, Value, clamped, to_int, to_number

# Holds the longest Decimal with all its digits, so that quantize() never overflows.
_WRITTEN_OUT = DecimalContext(prec=ARITHMETIC.Emax + ARITHMETIC.prec + 1, rounding=ROUND_DOWN)


def _numeric(name: str, count: int, work: Callable[..., Value]) -> None:
    @function(name, count)
    def run(context: Context, *arguments: Value) -> Value:
        numbers = [to_number(argument) for argument in arguments]
        if UNDEFINED in numbers:
            return UNDEFINED
        result = work(*numbers)
        return to_number(Decimal(repr(result)) if isinstance(result, float) else result)


def _rounded(mode: str) -> Callable[[Value], int]:
    return lambda value: to_int(Decimal(value).to_integral_value(mode))


_numeric("abs", 1, lambda value: signed("-", value) if value < 0 else value)
_numeric("ceil", 1, _rounded(ROUND_CEILING))
_numeric("floor", 1, _rounded(ROUND_FLOOR))
_numeric("round", 1, _rounded(ROUND_HALF_UP))
_numeric("sign", 1, lambda value: (value > 0) - (value < 0))
_numeric("mod", 2, lambda left, right: calculate("%", left, right))
_numeric("remainder", 2, lambda left, right: calculate("%", left, right))
_numeric("power", 2, ARITHMETIC.power)
_numeric("sqrt", 1, ARITHMETIC.sqrt)
for _name, _work in {
    "acos": math.acos, "asin": math.asin, "atan": math.atan, "cos": math.cos,
    "cosh": math.cosh, "exp": math.exp, "ln": math.log, "log": math.log10, "sin": math.sin,
    "sinh": math.sinh, "tan": math.tan, "tanh": math.tanh,
}.items():  # fmt: skip
    _numeric(_name, 1, _work)
_numeric("atan2", 2, math.atan2)

_numeric("bitand", 2, lambda left, right: to_int(left) & to_int(right))
_numeric("bitor", 2, lambda left, right: to_int(left) | to_int(right))
_numeric("bitxor", 2, lambda left, right: to_int(left) ^ to_int(right))
_numeric("bitnot", 1, lambda value: ~to_int(value))


@function("rand", 0)
def rand(context: Context) -> Value:
    return Decimal(repr(random.random()))  # noqa: S311


@function("trunc", 2)
def trunc(context: Context, value: Value, places: Value) -> Value:
    """The number truncated to 0 to 34 decimal places, without trailing zeros."""
    number = to_number(value)
    digits = clamped(places, ARITHMETIC.prec)
    if number is UNDEFINED or digits is UNDEFINED:
        return UNDEFINED
    if isinstance(number, int):
        return number
    step = Decimal(1).scaleb(-digits)
    return ARITHMETIC.normalize(_WRITTEN_OUT.quantize(number, step))
