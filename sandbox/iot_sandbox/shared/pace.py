"""How often to poll an API that does not announce changes."""

from __future__ import annotations

import time

LIVELY_SECONDS = 60.0
QUIET_FACTOR = 4
"""A round of calls costs the emulated API about a hundredth of a core, so quiet times get fewer."""


class Pace:
    """A pause of ``interval`` seconds while changes are recent, a longer one otherwise."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._changed = time.monotonic()

    def pause(self, changed: bool) -> float:
        """Seconds until the next round, given whether the last one found a change."""
        now = time.monotonic()
        if changed:
            self._changed = now
        return self._interval * (1 if now - self._changed < LIVELY_SECONDS else QUIET_FACTOR)
