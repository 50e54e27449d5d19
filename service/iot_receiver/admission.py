"""Decides how much DynamoDB is asked, and which rows are worth accepting, by what was measured just before.

A queue is judged by the wait it means, not by its length: at DynamoDB's pace of the last second, would this row be
stored well before its deadline? Calls in flight follow their own time (as TCP Vegas does): more only while more do not
make each slower. Under throttling, everybody's rows share one pace.
"""

from collections import deque

WAIT_SECONDS = 0.6  # the longest expected wait of an accepted row: its deadline, less a call that takes its whole time
THROTTLED_WAIT_SECONDS = 0.3  # while rows are tried several times, a pause before each
CALM_SECONDS = 0.25  # while no row waits for longer, any number is accepted: it is a burst, not an overload
WINDOW_SECONDS = 1.0  # of the measured pace
_SLICE_SECONDS = 0.05

CALLS_FIRST = 8
CALLS_LEAST = 2
CALLS_MOST = 32
BASE_SECONDS = 8.0  # for which it counts what a call took by itself; then that is measured again
BASE_FIRST_SECONDS = 1.0  # for the first calls: those that are answered first are the fastest ones
BASE_CALLS = 4  # that are enough to know it
FULL = 0.8  # of what a call may carry: with less, more rows would take DynamoDB no longer
ROOM = 1.5  # times as many rows are accepted then

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


class Concurrency:
    """How many calls may be in flight."""

    def __init__(self) -> None:
        self.limit: float = CALLS_FIRST
        self.seconds = 0.0  # what a call takes now, smoothed
        self._base = float("inf")  # what a call takes by itself
        self._base_at = 0.0
        self._calls = 0
        self._measured: list[float] = []
        self._starting = True  # more calls were never slower yet
        self._full: float | None = None  # the limit before it was halved to measure that
        self._drained: float | None = None  # since when there are no more calls than that
        self._halved = 0.0

    def called(self, seconds: float, now: float, in_flight: int) -> None:
        """Learn from a call that was answered, of so many in flight."""
        self.seconds = seconds if not self.seconds else 0.8 * self.seconds + 0.2 * seconds
        if self._measures(seconds, now, in_flight):
            return
        waiting = self.limit * (1 - self._base / self.seconds) if self.seconds else 0.0  # for others of ours
        self._starting &= waiting < 2
        if waiting > 4:
            self.limit = max(CALLS_LEAST, self.limit - 2 / self.limit)
        elif waiting < 2 and in_flight >= self.limit - 1:
            self.limit = min(CALLS_MOST, self.limit + (2 if self._starting else 1 / self.limit))

    def _measures(self, seconds: float, now: float, in_flight: int) -> bool:
        """Keep what a call takes by itself, with half as many in flight where that is long ago (as TCP BBR does).

        Under a lasting overload, the fastest call of the last seconds would have waited for others of ours, too.
        """
        if self._full is not None:
            if self._drained is None:
                self._drained, self._measured = now if in_flight <= self.limit else None, []
            elif now - seconds >= self._drained:
                self._measured.append(seconds)
            if len(self._measured) == BASE_CALLS:
                self._base, self._base_at = sum(self._measured) / BASE_CALLS, now
                self.limit, self._full, self._drained = self._full, None, None
            return True
        if self._calls < BASE_CALLS:
            self._calls += 1
            self._base, self._base_at = min(self._base, seconds), now - BASE_SECONDS + BASE_FIRST_SECONDS
        elif in_flight <= max(CALLS_LEAST, self.limit / 2):
            self._base, self._base_at = 0.9 * self._base + 0.1 * seconds, now
        elif now - self._base_at > BASE_SECONDS and not self._starting:
            self._full, self.limit = self.limit, max(CALLS_LEAST, self.limit // 2)
            return True
        return False

    def failed(self, now: float) -> None:
        """Learn from a call that was not answered in time: once for all that were in flight with it."""
        if now - self._halved > max(0.1, 2 * self.seconds):
            self._halved = now
            self._full = self._drained = None
            self._starting = False
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

    def wait(self, now: float) -> float:
        """The longest expected wait of an accepted row, in seconds."""
        return WAIT_SECONDS if self._current(now) == float("inf") else THROTTLED_WAIT_SECONDS

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
