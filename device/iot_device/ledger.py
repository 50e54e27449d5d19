"""A line of JSON for the outcome of each reading, to compare with what arrived.

A line is written before the reading is deleted from the spool: after any crash each has a line or still waits.
"""

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from iot_device.reasons import Refusal
from iot_device.settings import SettingsError

LATENCIES = 100_000  # enough for percentiles


@dataclass
class Ledger:
    """Counts, and writes to a file where there is one. Times are seconds since 1970."""

    file: TextIO | None = None
    acknowledged: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    latencies: list[float] | None = None
    """Seconds from publish to acknowledgement; None if they are not needed."""

    @classmethod
    def at(cls, path: Path | None, append: bool = False) -> "Ledger":
        """Return a ledger that writes to a file, or one that only counts. Raises SettingsError."""
        try:
            return cls(path.open("a" if append else "w", buffering=1) if path else None)
        except OSError as error:
            raise SettingsError(
                f"ledger {path} cannot be written: {error.strerror}: name a file by --ledger whose folder exists and "
                "is writable."
            ) from error

    def record(self, payload: str, published: float, refusal: Refusal | None) -> None:
        """Write that a reading was acknowledged, or refused for good. Raises OSError, and then counts nothing."""
        answered = time.time()
        self._write(payload, published, {"refused": refusal.name} if refusal else {"acknowledged_at": answered})
        if refusal:
            self.refused[refusal.name] += 1
        else:
            self.acknowledged += 1
            if self.latencies is not None and len(self.latencies) < LATENCIES:
                self.latencies.append(answered - published)

    def record_waiting(self, payload: str) -> None:
        """Write that a reading still waits when the command ends."""
        self._write(payload, None, {"waiting": True})

    def _write(self, payload: str, published: float | None, outcome: dict[str, object]) -> None:
        if self.file:
            times = {} if published is None else {"published_at": published}
            self.file.write(json.dumps(json.loads(payload) | times | outcome) + "\n")
