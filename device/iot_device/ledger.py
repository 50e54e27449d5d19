"""A line of JSON for every reading that was sent, so that another can be compared with what arrived."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TextIO

from iot_device.publisher import Publisher
from iot_device.reading import Reading
from iot_device.reasons import Refusal


@dataclass
class Ledger:
    """Counts, and writes to a file where there is one. Times are seconds since 1970."""

    file: TextIO | None = None
    sent: int = 0
    acknowledged: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @classmethod
    def at(cls, path: Path | None) -> "Ledger":
        """Return a ledger that writes to a new file, or one that only counts."""
        return cls(path.open("w", buffering=1) if path else None)

    def publish(self, publisher: Publisher, reading: Reading, wait: bool = True) -> bool:
        """Send a reading; its line is written on the broker's answer. Returns False where there was no room."""
        published = time.time()
        taken = publisher.publish(
            reading.payload(), lambda refusal: self._answer(reading, published, refusal), wait
        )
        if taken:
            with self._lock:
                self.sent += 1
        return taken

    def _answer(self, reading: Reading, published: float, refusal: Refusal | None) -> None:
        answered = time.time()
        with self._lock:
            if refusal:
                self.refused[refusal.name] = self.refused.get(refusal.name, 0) + 1
            else:
                self.acknowledged += 1
            if self.file:
                outcome = {"refused": refusal.name} if refusal else {"acknowledged_at": answered}
                self.file.write(json.dumps(reading.members() | {"published_at": published} | outcome) + "\n")
