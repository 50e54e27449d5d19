"""What every action of a rule gets, and how it reports a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from iot_sandbox.shared.sql import Context
from iot_sandbox.shared.sql.message import Message
from iot_sandbox.shared.sql.values import UNDEFINED, Value, dumps


@dataclass(frozen=True, slots=True)
class Failure:
    """An action that failed, as AWS names it in an error action's payload."""

    action: str
    resource: str
    message: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message on its way to a rule's actions, with what the rule selected of it."""

    context: Context
    payload: bytes
    is_json: bool

    @property
    def message(self) -> Message:
        return self.context.message


def delivery(context: Context, selected: Value) -> Delivery:
    """The selected value as bytes: JSON, or the message's own payload where that is none.

    Undefined "is converted to an empty string when serialized by itself":
    https://docs.aws.amazon.com/iot/latest/developerguide/iot-sql-data-types.html
    """
    if selected is UNDEFINED:
        return Delivery(context, b"", is_json=False)
    if isinstance(selected, bytes):
        return Delivery(context, selected, is_json=False)
    if selected is context.document:
        return Delivery(context, context.message.payload, is_json=True)
    return Delivery(context, dumps(selected), is_json=True)


class Action(Protocol):
    """One action of a rule, compiled."""

    kind: str
    """Its name in the API: http, sqs, republish."""

    async def run(self, delivery: Delivery) -> Failure | None:
        """Runs the action; returns the failure, or None for success."""

    async def close(self) -> None:
        """Finishes open work when the rule is replaced or deleted."""
