"""Where functions are registered by their name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from iot_sandbox.shared.sql.values import UNDEFINED, Value


@dataclass(frozen=True, slots=True)
class Function:
    """A function with the number of arguments it takes; ``run`` gets the Context, then the arguments."""

    run: Callable[..., Value]
    fewest: int
    most: int
    wants_raw_payload: bool = False
    """Whether ``*`` as first argument means the payload's bytes, even if they are JSON."""


_UNFIT = (ArithmeticError, RecursionError, TypeError, ValueError, re.error)

FUNCTIONS: Final[dict[str, Function]] = {}
"""By lower-case name: AWS takes them in any case."""


def function(
    name: str, fewest: int, most: int | None = None, *, undefined: bool = False, raw_payload: bool = False
) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Registers a function; unless ``undefined``, it yields Undefined as soon as one argument is.

    It also does for arguments that it cannot take and raises for, as on AWS: no message is lost by them.
    """

    def register(run: Callable[..., Value]) -> Callable[..., Value]:
        def guarded(context: object, *arguments: Value) -> Value:
            if not undefined and any(a is UNDEFINED for a in arguments):
                return UNDEFINED
            try:
                return run(context, *arguments)
            except _UNFIT:
                return UNDEFINED

        FUNCTIONS[name] = Function(guarded, fewest, fewest if most is None else most, raw_payload)
        return run

    return register
