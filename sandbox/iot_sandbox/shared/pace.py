"""How often to look at an API that has no way to tell of changes."""

from __future__ import annotations

import time

LIVELY_SECONDS = 60.0
QUIET_FACTOR = 4
"""A round of calls costs the emulated API some hundredth of a core: fewer of them while nothing happens."""


class Pace:
    """A pause of ``interval`` seconds while changes are recent, a longer one otherwise."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._changed = time.monotonic()

    def pause(self, changed: bool) -> float:
        """Seconds to the next look, after one that found something changed or not."""
        now = time.monotonic()
        if changed:
            self._changed = now
        return self._interval * (1 if now - self._changed < LIVELY_SECONDS else QUIET_FACTOR)
