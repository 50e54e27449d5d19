"""What an expression of rule SQL is once it is compiled, and what it is evaluated with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from iot_sandbox.shared.sql.values import UNDEFINED, Value

if TYPE_CHECKING:
    from iot_sandbox.shared.sql.message import Message


class SqlError(ValueError):
    """A statement, template or expression that is not rule SQL, or that calls what does not exist."""


class EvaluationError(Exception):
    """The rule fails for this message, as on AWS."""


class SecretRequest(NamedTuple):
    """A call of get_secret: its arguments."""

    secret_id: str
    secret_type: str
    key: str | None
    role_arn: str


@dataclass(frozen=True, slots=True)
class Context:
    """One evaluation: the message, and the values that needed a call to AWS."""

    message: Message
    document: Value
    account_id: str
    secrets: Mapping[SecretRequest, Value] = field(default_factory=dict)
    variables: Mapping[str, Value] = field(default_factory=dict)

    def inside(self, document: Value) -> Context:
        """The same, with another document to take attributes from."""
        return replace(self, document=document)


Evaluate: TypeAlias = Callable[[Context], Value]


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression; ``name`` is its key in a result when the statement gives none."""

    evaluate: Evaluate
    name: str | None = None
    is_payload: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One member of a SELECT list."""

    expression: Expression
    key: str
    within: tuple[str, ...] = ()
    """Names of the objects that it lies in, from the outermost: ``AS a.b`` makes ``{"a": {"b": …}}``."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What follows SELECT: a single value, or members (``*`` puts in all members of the document)."""

    value: Expression | None = None
    items: tuple[Item, ...] = ()

    @property
    def is_payload(self) -> bool:
        """Whether it is just ``*``: the payload itself, JSON or not."""
        return len(self.items) == 1 and self.items[0].expression.is_payload

    def evaluate(self, context: Context) -> Value:
        """The selected value; members that are Undefined are left out."""
        if self.value:
            return self.value.evaluate(context)
        if self.is_payload:
            return self.items[0].expression.evaluate(context)
        result: dict[str, Value] = {}
        for item in self.items:
            value = item.expression.evaluate(context)
            if item.expression.is_payload:
                result.update(value if isinstance(value, dict) else {})
            elif value is not UNDEFINED:
                _enclosing(result, item.within)[item.key] = value
        return result


def _enclosing(result: dict[str, Value], names: tuple[str, ...]) -> dict[str, Value]:
    """The object that these names lead to; copied on the way, since other rules share the payload's objects."""
    for name in names:
        found = result.get(name)
        result[name] = dict(found) if isinstance(found, dict) else {}
        result = result[name]
    return result
