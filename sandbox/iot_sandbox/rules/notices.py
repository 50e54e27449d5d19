"""Log lines for events that may occur a thousand times a second."""

from __future__ import annotations

import logging
import time

PERIOD_SECONDS = 10.0


class Notices:
    """At most one line for each kind and period, with the number of those left out."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._silent: dict[str, tuple[float, int]] = {}

    def warn(self, kind: str, text: str, *arguments: object) -> None:
        """Logs a warning, unless one of this kind was logged within the period."""
        since, more = self._silent.get(kind, (float("-inf"), 0))
        now = time.monotonic()
        if now - since < PERIOD_SECONDS:
            self._silent[kind] = since, more + 1
            return
        self._silent[kind] = now, 0
        suffix = f" (and {more} like it before)" if more else ""
        self._log.warning(text + "%s", *arguments, suffix)
