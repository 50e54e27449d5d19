"""A line of JSON for the outcome of each reading, to compare with what arrived.

A line is on the disk before the reading is deleted from the spool: after any crash each has a line or still waits.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from iot_device.reasons import Refusal
from iot_device.settings import SettingsError
from iot_device.spool import sync_folder

LATENCIES = 100_000  # enough for percentiles


@dataclass
class Ledger:
    """Counts, and writes to a file where there is one. Times are seconds since 1970."""

    file: TextIO | None = None
    publishes: int = 0
    """Those that were answered, each with one reading or several."""
    acknowledged: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    _unsynced: bool = False
    latencies: list[float] | None = None
    """Seconds from publish to acknowledgement; None if they are not needed."""

    @classmethod
    def at(cls, path: Path | None, append: bool = False) -> "Ledger":
        """Return a ledger that writes to a file, or one that only counts. Raises SettingsError."""
        try:
            file = path.open("a" if append else "w") if path else None
            if path:
                sync_folder(path)
        except OSError as error:
            raise SettingsError(
                f"ledger {path} cannot be written: {error.strerror}: name a file by --ledger whose folder exists and "
                "is writable."
            ) from error
        return cls(file)

    def sync(self) -> None:
        """Have everything that was written on the disk. Raises OSError."""
        if self.file and self._unsynced:
            os.fsync(self.file.fileno())
            self._unsynced = False

    def record(self, payloads: Sequence[str], published: float, refusal: Refusal | None) -> None:
        """Write that a publish was acknowledged, or refused for good. Raises OSError, and then counts nothing."""
        answered = time.time()
        outcome: dict[str, object] = {"refused": refusal.name} if refusal else {"acknowledged_at": answered}
        self._write(payloads, {"published_at": published} | outcome)
        self.publishes += 1
        if refusal:
            self.refused[refusal.name] += len(payloads)
        else:
            self.acknowledged += len(payloads)
            if self.latencies is not None and len(self.latencies) < LATENCIES:
                self.latencies += [answered - published] * len(payloads)

    def record_waiting(self, payloads: Sequence[str]) -> None:
        """Write that readings still wait when the command ends."""
        self._write(payloads, {"waiting": True})

    def _write(self, payloads: Sequence[str], outcome: dict[str, object]) -> None:
        if self.file:
            lines = [json.dumps(json.loads(payload) | outcome) + "\n" for payload in payloads]
            self.file.write("".join(lines))
            self.file.flush()
            self._unsynced = True
