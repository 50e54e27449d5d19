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
    most: int | None
    wants_raw_payload: bool = False
    """Whether ``*`` as first argument means the payload's bytes, even if they are JSON."""


_UNFIT = (ArithmeticError, RecursionError, TypeError, ValueError, re.error)

FUNCTIONS: Final[dict[str, Function]] = {}
"""By lower-case name: AWS takes them in any case."""

NOT_EMULATED: Final = frozenset(
    ("aws_lambda", "get_dynamodb", "get_registry_data", "get_thing_shadow", "machinelearning_predict", "md2")
)
"""Functions of AWS that this engine lacks: a rule with one is refused."""


def function(
    name: str, fewest: int, most: int | None = -1, *, undefined: bool = False, raw_payload: bool = False
) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    """Registers a function of ``fewest`` to ``most`` arguments (None: any number, -1: ``fewest``).

    Unless ``undefined``, it yields Undefined as soon as one argument is.
    Unfit arguments and a wrong number of them yield Undefined as well, as on AWS: no
    message is lost because of them.
    """

    def register(run: Callable[..., Value]) -> Callable[..., Value]:
        def guarded(context: object, *arguments: Value) -> Value:
            if not undefined and any(a is UNDEFINED for a in arguments):
                return UNDEFINED
            try:
                return run(context, *arguments)
            except _UNFIT:
                return UNDEFINED

        FUNCTIONS[name] = Function(guarded, fewest, fewest if most == -1 else most, raw_payload)
        return run

    return register
