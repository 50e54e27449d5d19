"""A message as the rules engine gets it: what was published, and by whom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from iot_sandbox.shared.sql.values import UNDEFINED, Value, loads


@dataclass(frozen=True, slots=True)
class Properties:
    """MQTT 5 properties that rules can see."""

    content_type: str | None = None
    correlation_data: bytes | None = None
    response_topic: str | None = None
    text: bool = False
    """Whether the payload format indicator says UTF-8."""
    user: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Message:
    """One publish; ``received_at`` in ms since the epoch, ``principal`` the certificate's id.

    ``rule`` names the only rule that gets it (Basic Ingest); ``topic`` is then what follows that prefix.
    """

    topic: str
    payload: bytes
    client_id: str
    principal: str | None
    trace_id: str
    received_at: int
    source_ip: str | None = None
    properties: Properties = field(default_factory=Properties)
    rule: str | None = None

    @cached_property
    def document(self) -> Value:
        """The payload as JSON, numbers exact; UNDEFINED if it is not JSON."""
        try:
            return loads(self.payload)
        except ValueError:
            return UNDEFINED
