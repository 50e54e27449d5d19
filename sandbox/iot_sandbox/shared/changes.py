"""Whether the emulated account has changed since it was last read."""

from __future__ import annotations

import os
import time
import urllib.request

TIMEOUT = 5.0
LONGEST = 15.0
"""Seconds after which the account is read again although no change is known."""


class Changes:
    """Spares one who follows the account to read what is as it was: that costs far more than asking for a number."""

    def __init__(self) -> None:
        self._url = os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/") + "/sandbox/changes"
        self._found = self._read = b""
        self._until = 0.0

    def due(self) -> bool:
        """Whether to read the account; also if nobody can tell."""
        try:
            with urllib.request.urlopen(self._url, timeout=TIMEOUT) as answer:  # noqa: S310 - the sandbox's own
                self._found = answer.read()
        except (OSError, ValueError):  # it does not answer, or there is no such URL
            return True
        return self._found != self._read or time.monotonic() >= self._until

    def was_read(self) -> None:
        """What `due` found has been read."""
        self._read, self._until = self._found, time.monotonic() + LONGEST
