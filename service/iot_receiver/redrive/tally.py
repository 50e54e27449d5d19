"""What a run finds and does, counted."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from iot_receiver.messages import Rejection
from iot_receiver.times import iso_from_ms

REASONS = 50  # different ones in the result
KINDS = 100
KINDS_MOST = 10_000  # remembered in one run: names of members, and so reasons, are the devices' choice
PAYLOAD_CHARACTERS = 200


class _Named(msgspec.Struct):
    device_id: str = msgspec.field(default="", name="deviceId")


_decode = msgspec.json.Decoder(_Named).decode


def device(rejection: Rejection) -> str:
    """The publisher of a rejected message: by IoT Core, else by the message, else empty."""
    if rejection.client_id is not None:
        return rejection.client_id
    try:
        return _decode(rejection.message).device_id
    except (ValueError, RecursionError):
        return ""


@dataclass(slots=True)
class Kind:
    """Rejected messages of one device and one reason; times in milliseconds since 1970."""

    payload: str
    first_ms: int
    last_ms: int
    messages: int = 0
    letters: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Tally:
    """What became of one queue's dead letters; the package's docstring describes the numbers."""

    letters: int = 0
    redriven: int = 0
    already_stored: int = 0
    storable: int = 0
    rejected: int = 0
    dropped: int = 0
    left: int = 0
    kept: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    kinds: dict[tuple[str, str], Kind] = field(default_factory=dict)

    def reject(self, rejection: Rejection, letter_id: str, sent_ms: int) -> None:
        """Count one rejected message."""
        self.rejected += 1
        self.reasons[rejection.reason] += 1
        key = (rejection.reason, device(rejection))
        kind = self.kinds.get(key)
        if kind is None:
            if len(self.kinds) == KINDS_MOST:
                return
            payload = rejection.message[: 4 * PAYLOAD_CHARACTERS].decode(errors="backslashreplace")
            kind = self.kinds[key] = Kind(payload[:PAYLOAD_CHARACTERS], sent_ms, sent_ms)
        kind.messages += 1
        kind.letters.add(letter_id)
        kind.first_ms, kind.last_ms = min(kind.first_ms, sent_ms), max(kind.last_ms, sent_ms)

    def as_fields(self) -> dict[str, Any]:
        """The numbers, and what is short enough of the rest."""
        numbers = ("letters", "redriven", "already_stored", "storable", "rejected", "dropped", "left")
        kinds = sorted(self.kinds.items(), key=lambda item: (-item[1].messages, item[0]))
        return {
            **{name: getattr(self, name) for name in numbers},
            "reasons": dict(self.reasons.most_common(REASONS)),
            "kinds": [
                {
                    "reason": reason,
                    "device": of,
                    "messages": kind.messages,
                    "letters": len(kind.letters),
                    "first": iso_from_ms(kind.first_ms),
                    "last": iso_from_ms(kind.last_ms),
                    "payload": kind.payload,
                }
                for (reason, of), kind in kinds[:KINDS]
            ],
            "kept": self.kept[:REASONS],
            "kept_letters": len(self.kept),
        }
