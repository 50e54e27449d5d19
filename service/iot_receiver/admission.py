"""Decides which rows are worth accepting, and how fast they are written, by what was measured just before.

A queue is judged by the wait it means, not by its length: at DynamoDB's pace of the last second, would this row be
stored well before its deadline? Under throttling, everybody's rows share one pace.
"""

from collections import deque

from iot_receiver.dynamodb import BATCH_ITEMS

STORING_SECONDS = 0.3  # that an accepted row must still have for the call that stores it
THROTTLED_WAIT_SECONDS = 0.3  # while rows are tried several times, a pause before each
CALM_SECONDS = 0.25  # while no row waits for longer, any number is accepted: it is a burst, not an overload
WINDOW_SECONDS = 1.0  # of the measured pace
_SLICE_SECONDS = 0.05

FULL = 0.8  # of what a call may carry: with less, more rows would take DynamoDB no longer
ROOM = 1.5  # times as many rows are accepted then

PACE_LEAST = 100.0  # rows a second
PACE_ASKED = 1.5  # of what DynamoDB takes: a throttled partition must not slow the others down more and more
PACE_GROWTH = 1.5  # each second without a throttle
PACED_CALL_SECONDS = 0.03  # of the pace in one call: a table that is asked seldom may keep too little for more
SLOWED_SECONDS = 0.2  # calls in flight are throttled together: once for all of them
FORGOTTEN_SECONDS = 10.0


class Pace:
    """Rows stored in the last second."""

    def __init__(self) -> None:
        self._slices: deque[tuple[int, int]] = deque()  # number of the slice, rows in it
        self._total = 0
        self._share = 1.0  # of what a call may carry, smoothed

    def count(self, rows: int, share: float, now: float) -> None:
        """Count rows that were stored by a call, which carried so large a share of what it may."""
        self._share += 0.1 * (share - self._share)
        number = int(now / _SLICE_SECONDS)
        if self._slices and self._slices[-1][0] == number:
            self._slices[-1] = (number, self._slices[-1][1] + rows)
        else:
            self._slices.append((number, rows))
        self._total += rows

    def acceptable(self, wait: float, now: float) -> float:
        """How many rows may be on their way, so that the last of them waits so many seconds."""
        return wait * self.per_second(now) * (ROOM if self._share < FULL else 1)

    def per_second(self, now: float) -> float:
        """Rows a second, over the last second."""
        oldest = int((now - WINDOW_SECONDS) / _SLICE_SECONDS)
        while self._slices and self._slices[0][0] <= oldest:
            self._total -= self._slices.popleft()[1]
        if not self._slices:
            return 0.0
        since = now - self._slices[0][0] * _SLICE_SECONDS
        return self._total / max(2 * _SLICE_SECONDS, min(WINDOW_SECONDS, since))


class Throttle:
    """The pace of writes while DynamoDB throttles them; unbounded otherwise."""

    def __init__(self) -> None:
        self._pace = float("inf")  # rows a second
        self._ready = 0.0  # when the next call may be made
        self._slowed = 0.0

    def throttled(self, stored_per_second: float, now: float) -> None:
        """Slow down to little more than what DynamoDB took in the last second."""
        if now - self._slowed > SLOWED_SECONDS:
            self._pace = max(PACE_LEAST, min(PACE_ASKED * stored_per_second, self._current(now)))
            self._slowed = now

    def throttles(self, now: float) -> bool:
        """Say whether DynamoDB throttled writes a short while ago."""
        return self._current(now) < float("inf")

    def delay(self, now: float) -> float:
        """Seconds until the next call may be made."""
        return max(0.0, self._ready - now)

    def room(self, now: float) -> int:
        """How many rows a call may carry."""
        return int(min(BATCH_ITEMS, max(1.0, PACED_CALL_SECONDS * self._current(now))))

    def sent(self, rows: int, now: float) -> None:
        """Take the time that a call's rows need."""
        pace = self._current(now)
        self._ready = max(self._ready, now - PACE_LEAST / 2 / pace) + rows / pace

    def _current(self, now: float) -> float:
        quiet = now - self._slowed
        return float("inf") if quiet > FORGOTTEN_SECONDS else self._pace * PACE_GROWTH**quiet
