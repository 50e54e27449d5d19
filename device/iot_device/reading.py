"""A reading: what a sensor measured, when, and the id that all copies of it share."""

import json
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from iot_device.measurements import Value, text


def uuid7(milliseconds: int) -> str:
    """Return a UUID that sorts by time (RFC 9562, section 5.7); milliseconds since 1970."""
    value = (milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))


def timestamp(milliseconds: int) -> str:
    """Return RFC 3339 in UTC with milliseconds, without rounding through a float."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def now() -> int:
    """Return milliseconds since 1970 by this device's clock."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Reading:
    """Time and id are set once, here: every copy that is sent has the same ones."""

    device: str
    values: Mapping[str, Value]
    taken: int = field(default_factory=now)
    message: str = ""

    def __post_init__(self) -> None:
        if not self.message:
            object.__setattr__(self, "message", uuid7(self.taken))

    def members(self) -> dict[str, Value]:
        """Return the message as the receiver reads it."""
        return {"deviceId": self.device, **self.values, "ts": timestamp(self.taken), "messageId": self.message}

    def payload(self) -> str:
        """Return the message as JSON, as it is published. Raises ValueError for a value that JSON cannot hold."""
        return "{" + ",".join(f"{json.dumps(name)}:{text(value)}" for name, value in self.members().items()) + "}"
