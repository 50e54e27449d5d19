"""Decides how much DynamoDB is asked, and which rows are worth accepting, by what was measured just before.

A queue is judged by the wait it means, not by its length: at DynamoDB's pace of the last second, would this row be
stored well before its deadline? Calls in flight follow their own time (as TCP Vegas does): more only while more do not
make each slower. Under throttling, everybody's rows share one pace.
"""

from collections import deque

WAIT_SECONDS = 0.6  # the longest expected wait of an accepted row: its deadline, less a call that takes its whole time
CALM_SECONDS = 0.25  # while no row waits for longer, any number is accepted: it is a burst, not an overload
WINDOW_SECONDS = 1.0  # of the measured pace
_SLICE_SECONDS = 0.05

CALLS_FIRST = 12
CALLS_LEAST = 2
CALLS_MOST = 32
BASE_SECONDS = 5.0  # for which the fastest call counts as what a call takes by itself

PACE_LEAST = 100.0  # rows a second
PACE_ASKED = 1.5  # of what DynamoDB takes: a throttled partition must not slow the others down more and more
PACE_GROWTH = 1.5  # each second without a throttle
SLOWED_SECONDS = 0.2  # calls in flight are throttled together: once for all of them
FORGOTTEN_SECONDS = 10.0


class Pace:
    """Rows stored in the last second."""

    def __init__(self) -> None:
        self._slices: deque[tuple[int, int]] = deque()  # number of the slice, rows in it
        self._total = 0

    def count(self, rows: int, now: float) -> None:
        """Count rows that were stored."""
        number = int(now / _SLICE_SECONDS)
        if self._slices and self._slices[-1][0] == number:
            self._slices[-1] = (number, self._slices[-1][1] + rows)
        else:
            self._slices.append((number, rows))
        self._total += rows

    def per_second(self, now: float) -> float:
        """Rows a second, over the last second."""
        oldest = int((now - WINDOW_SECONDS) / _SLICE_SECONDS)
        while self._slices and self._slices[0][0] <= oldest:
            self._total -= self._slices.popleft()[1]
        if not self._slices:
            return 0.0
        since = now - self._slices[0][0] * _SLICE_SECONDS
        return self._total / max(2 * _SLICE_SECONDS, min(WINDOW_SECONDS, since))


class Concurrency:
    """How many calls may be in flight."""

    def __init__(self) -> None:
        self.limit: float = CALLS_FIRST
        self.seconds = 0.0  # what a call takes now, smoothed
        self._base = [float("inf"), float("inf")]  # the fastest of this period and of the one before
        self._period = 0.0
        self._halved = 0.0

    def called(self, seconds: float, now: float, in_flight: int) -> None:
        """Learn from a call that was answered, of so many in flight."""
        self.seconds = seconds if not self.seconds else 0.8 * self.seconds + 0.2 * seconds
        if now - self._period > BASE_SECONDS:
            self._period = now
            self._base = [float("inf"), self._base[0]]
        self._base[0] = min(self._base[0], seconds)
        waiting = self.limit * (1 - min(self._base) / seconds) if seconds else 0.0  # for others of ours
        if waiting > 4:
            self.limit = max(CALLS_LEAST, self.limit - 2 / self.limit)
        elif waiting < 2 and in_flight >= self.limit - 1:
            self.limit = min(CALLS_MOST, self.limit + (2 if waiting < 1 else 1 / self.limit))

    def failed(self, now: float) -> None:
        """Learn from a call that was not answered in time: once for all that were in flight with it."""
        if now - self._halved > max(0.1, 2 * self.seconds):
            self._halved = now
            self.limit = max(CALLS_LEAST, self.limit / 2)


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

    def delay(self, now: float) -> float:
        """Seconds until the next call may be made."""
        return max(0.0, self._ready - now)

    def sent(self, rows: int, now: float) -> None:
        """Take the time that a call's rows need."""
        pace = self._current(now)
        self._ready = max(self._ready, now - PACE_LEAST / 2 / pace) + rows / pace

    def _current(self, now: float) -> float:
        quiet = now - self._slowed
        return float("inf") if quiet > FORGOTTEN_SECONDS else self._pace * PACE_GROWTH**quiet
