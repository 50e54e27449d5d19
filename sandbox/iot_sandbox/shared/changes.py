"""Tells programs that follow the emulated account when to read it again."""

from __future__ import annotations

import http.client
import os
import time
import urllib.request

TIMEOUT = 5.0
LONGEST = 15.0
"""Seconds after which the account is read even if no change was reported."""


class Changes:
    """Whether the account has changed since it was read: asking for a number costs far less than reading."""

    def __init__(self) -> None:
        self._url = os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/") + "/sandbox/changes"
        self._found = self._read = b""
        self._until = 0.0

    def due(self) -> bool:
        """Whether to read the account: it changed, was read long ago, or does not report changes."""
        try:
            with urllib.request.urlopen(self._url, timeout=TIMEOUT) as answer:  # noqa: S310 - the sandbox's own
                self._found = answer.read()
        except (OSError, ValueError, http.client.HTTPException):  # no answer, half of one, or no such URL
            return True
        return self._found != self._read or time.monotonic() >= self._until

    def was_read(self) -> None:
        """Remember that what `due` reported was read."""
        self._read, self._until = self._found, time.monotonic() + LONGEST
