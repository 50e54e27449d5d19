"""Decides how much DynamoDB is asked, and which rows are worth accepting, by what was measured just before.

A queue is judged by the wait it means, not by its length: at DynamoDB's pace of the last second, would this row be
stored well before its deadline? So much is in flight as DynamoDB answers in time: a call that is not costs twice, since
its rows are stored and written again. Under throttling, everybody's rows share one pace.
"""

from collections import deque

from iot_receiver.dynamodb import ATTEMPT_TIMEOUT, BATCH_ITEMS

STORING_SECONDS = 0.3  # that an accepted row must still have for the call that stores it: most of ATTEMPT_TIMEOUT
THROTTLED_WAIT_SECONDS = 0.3  # while rows are tried several times, a pause before each
CALM_SECONDS = 0.25  # while no row waits for longer, any number is accepted: it is a burst, not an overload
WINDOW_SECONDS = 1.0  # of the measured pace
_SLICE_SECONDS = 0.05

CALLS_MOST = 64  # on a starved processor, most of them are answered and have not been read
CALL_SECONDS = 0.22  # about half of what a call may take: it may wait for others, but has to be answered
UNHINDERED = 1.4  # times what a call takes that is alone: no queue shows yet
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


class Window:
    """How much may be in flight: as much as DynamoDB answers within CALL_SECONDS, by Little's law."""

    def __init__(self, most: int, least: int) -> None:
        self.limit: float = most  # until the first call is answered
        self._most, self._least = most, least
        self._answers = 0

    def learn(self, fair: float) -> None:
        """Approach what a call showed in about the time of one call; the first one's answer counts at once."""
        self._answers += 1
        share = max(self._least / self.limit, 1 / self._answers)
        self.limit += share * (min(fair, 2 * self.limit) - self.limit)
        self.limit = min(self._most, max(self._least, self.limit))


class Concurrency:
    """How many calls and rows may be in flight: DynamoDB may have time for so many of either."""

    def __init__(self) -> None:
        self.seconds = 0.0  # what a call takes now, smoothed, until its answer has been read
        self._calls = Window(CALLS_MOST, 1)  # now and then, one is alone and shows what it takes by itself
        self._rows = Window(CALLS_MOST * BATCH_ITEMS, BATCH_ITEMS)
        self._base = 0.0  # what a call takes that is alone

    def admits(self, calls: int, rows: int) -> bool:
        """Say whether another call may be made while so much is in flight."""
        return calls < round(self._calls.limit) and rows < self._rows.limit

    def acceptable(self) -> float:
        """How many rows DynamoDB takes for sure, whatever its pace was: a starved processor makes that look low."""
        return self._rows.limit

    def called(self, seconds: float, passed: float, calls: int, rows: int) -> None:
        """Learn from a call that DynamoDB answered in so many seconds, whereas so many had passed until that was read.

        So much was in flight when it was made, itself included.
        """
        self.seconds = passed if not self.seconds else 0.8 * self.seconds + 0.2 * passed
        seconds = max(seconds, 0.001)  # the kernel's clock counts no less
        if calls == 1:
            self._base = seconds if not self._base else 0.75 * self._base + 0.25 * seconds
        self._learn(max(CALL_SECONDS, UNHINDERED * self._base) / seconds, calls, rows)

    def failed(self, calls: int, rows: int) -> None:
        """Learn from a call that was not answered in time: what one takes that is alone was believed to be too long."""
        self._base *= 0.9
        self._learn(CALL_SECONDS / ATTEMPT_TIMEOUT, calls, rows)

    def _learn(self, times: float, calls: int, rows: int) -> None:
        self._calls.learn(times * calls)
        self._rows.learn(times * rows)


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

    def sent(self, rows: int, now: float) -> None:
        """Take the time that a call's rows need."""
        pace = self._current(now)
        self._ready = max(self._ready, now - PACE_LEAST / 2 / pace) + rows / pace

    def _current(self, now: float) -> float:
        quiet = now - self._slowed
        return float("inf") if quiet > FORGOTTEN_SECONDS else self._pace * PACE_GROWTH**quiet
