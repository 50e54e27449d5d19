"""A message of the rules engine: what was published, and by whom."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from iot_sandbox.shared.sql.values import UNDEFINED, Value, loads

BASIC_INGEST = re.compile(r"\$aws/rules/(?P<rule>[^/]+)/(?P<rest>.+)", re.DOTALL)
"""https://docs.aws.amazon.com/iot/latest/developerguide/iot-basic-ingest.html"""


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
    """One publish; ``received_at`` in ms since the epoch, ``principal`` the certificate's id."""

    topic: str
    payload: bytes
    client_id: str
    principal: str | None
    trace_id: str
    received_at: int
    source_ip: str | None = None
    properties: Properties = field(default_factory=Properties)

    @cached_property
    def basic_ingest(self) -> re.Match[str] | None:
        """Rule and rest of a topic by which one rule gets the message, whatever its FROM."""
        return BASIC_INGEST.fullmatch(self.topic)

    @property
    def rule(self) -> str | None:
        """The only rule that gets the message; None: those whose FROM matches."""
        return self.basic_ingest["rule"] if self.basic_ingest else None

    @property
    def plain_topic(self) -> str:
        """The topic without the prefix of Basic Ingest."""
        return self.basic_ingest["rest"] if self.basic_ingest else self.topic

    @cached_property
    def document(self) -> Value:
        """The payload as JSON, numbers exact; UNDEFINED if it is not JSON."""
        try:
            return loads(self.payload)
        except ValueError:
            return UNDEFINED
