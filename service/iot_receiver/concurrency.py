"""Decides how much is in flight to DynamoDB: as much as it answers in time.

A call that is not answered in time costs twice, since its rows are stored and written again. But a slow answer alone
does not say that too much is in flight: DynamoDB may take as long for a single row, and then more in flight is what
delivers more. So the times of the last calls are compared with how much was in flight beside each.
"""

from iot_receiver.dynamodb import BATCH_ITEMS

CALLS_MOST = 64  # on a starved processor, most of them are answered and have not been read
ROWS_LEAST = 5
CALL_SECONDS = 0.22  # less than half of what a call may take: it may wait for others, but has to be answered
REPEAT_SECONDS = 0.5  # after which a call without an answer is made again, with enough time left for that
REPEAT_TIMES = 1.7  # what a call takes that has nothing to wait for, where that is more
REPEAT_MOST_SECONDS = 0.8
FAILED = 0.55  # times as much is in flight after a call without an answer
LONGEST_SECONDS = 0.36  # where a call takes long that has nothing to wait for
UNHINDERED = 1.4  # times what such a call takes: what waits is not much yet
ALONE = 1.1  # times that, it waits for nothing
GROWTH = 1.5  # times as much is in flight then, in about the time of a call
STEP = 1.1  # times as much is at least one call more
TRIAL = 1.15  # where all calls met the same, to see whether more makes a difference
TRIAL_SECONDS = 0.32  # with this time left to be wrong

REMEMBERED = 3  # times what is in flight: so many of the last calls count
DIFFERENT = 0.01  # variance of what was in flight, over the square of its mean


class Line:
    """The line through the last calls: the seconds that each took, over the rows in flight.

    Attributes:
        base: its start, in seconds: what a call takes that has nothing to wait for.
        known: whether the calls differ enough to draw it; otherwise `base` is what it was.
    """

    def __init__(self) -> None:
        self.base = 0.0
        self.known = False
        self._calls = self._rows = self._seconds = self._squares = self._products = 0.0  # sums

    def add(self, seconds: float, calls: int, rows: int) -> None:
        """Add a call, with what was in flight; the longer ago a call is, the less it counts."""
        kept = 1 - 1 / (REMEMBERED * calls + 4)
        self._calls = self._calls * kept + 1
        self._rows = self._rows * kept + rows
        self._seconds = self._seconds * kept + seconds
        self._squares = self._squares * kept + rows * rows
        self._products = self._products * kept + rows * seconds
        spread = self._calls * self._squares - self._rows**2
        self.known = spread > DIFFERENT * self._rows**2
        if self.known:
            slope = max(0.0, (self._calls * self._products - self._rows * self._seconds) / spread)
            self.base = max(0.0, (self._seconds - slope * self._rows) / self._calls)


class Window:
    """How much may be in flight, by Little's law."""

    def __init__(self, most: int, least: int, call: int) -> None:
        self.limit: float = most  # until the first call is answered
        self._most, self._least, self._call = most, least, call
        self._answers = 0

    def learn(self, fair: float) -> None:
        """Approach what a call showed in about the time of one call; the first one's answer counts at once."""
        self._answers += 1
        share = max(min(1.0, self._call / self.limit), 1 / self._answers)
        self.limit += share * (min(fair, 2 * self.limit) - self.limit)
        self.limit = min(self._most, max(self._least, self.limit))


class Concurrency:
    """How many calls and rows may be in flight: DynamoDB may have time for so many of either."""

    def __init__(self) -> None:
        self.seconds = 0.0  # what a call takes now, smoothed, until its answer has been read
        self._line = Line()
        self._alone = 0.0  # what a small call took that was alone, smoothed; under load none is
        self._calls = Window(CALLS_MOST, 1, 1)
        self._rows = Window(CALLS_MOST * BATCH_ITEMS, ROWS_LEAST, BATCH_ITEMS)

    def room(self, calls: int, rows: int) -> int:
        """How many rows another call may carry while so much is in flight; 0 when there may be none."""
        limit = max(int(self._rows.limit), BATCH_ITEMS if self._whole else 0)
        if calls >= round(self._calls.limit) or rows >= limit:
            return 0
        if self._whole or limit >= 2 * BATCH_ITEMS:
            return BATCH_ITEMS
        return min(BATCH_ITEMS, limit - rows)  # a full call would take too long, or those behind it

    @property
    def _whole(self) -> bool:
        """Whether a call takes long whatever is in it, so that it had better be full."""
        return self._told > CALL_SECONDS / 2

    @property
    def _base(self) -> float:
        """What a call takes that has nothing to wait for."""
        return max(self._alone, self._line.base)

    @property
    def _told(self) -> float:
        """The same by the last calls alone, where they differ enough to tell."""
        return self._line.base if self._line.known else self._base

    def acceptable(self) -> float:
        """How many rows DynamoDB takes for sure, whatever its pace was: a starved processor makes that look low."""
        return self._rows.limit

    def repeat_after(self) -> float:
        """After how many seconds a call without an answer is to be made again."""
        return max(REPEAT_SECONDS, min(REPEAT_TIMES * self._told, REPEAT_MOST_SECONDS))

    def took(self, seconds: float, passed: float, calls: int, rows: int) -> float:
        """Learn how long calls take, also from one that is answered after it has failed; returns its seconds.

        DynamoDB answered in so many seconds, whereas so many had passed until that was read. So much was in flight when
        the call was made, itself included.
        """
        self.seconds = passed if not self.seconds else 0.8 * self.seconds + 0.2 * passed
        seconds = max(seconds, 0.001)  # the kernel's clock counts no less
        self._line.add(seconds, calls, rows)
        if calls == 1 and rows <= BATCH_ITEMS / 2:
            self._alone = seconds if not self._alone else 0.75 * self._alone + 0.25 * seconds
        return seconds

    def called(self, seconds: float, passed: float, calls: int, rows: int) -> None:
        """Learn from a call that was answered, with what `took` is given, how much may be in flight."""
        seconds = self.took(seconds, passed, calls, rows)
        times = max(CALL_SECONDS, min(UNHINDERED * self._base, LONGEST_SECONDS)) / seconds
        if seconds < ALONE * self._told:
            times = max(times, GROWTH)
        elif not self._line.known and seconds < TRIAL_SECONDS:
            times = max(times, TRIAL)
        self._learn(times, calls, rows)

    def failed(self, calls: int, rows: int) -> None:
        """Learn from a call that was not answered in time."""
        self._learn(FAILED, calls, rows)

    def _learn(self, times: float, calls: int, rows: int) -> None:
        # less than a whole call more would be rounded away
        self._calls.learn(max(times * calls, calls + 0.6) if times >= STEP else times * calls)
        # that there was little to write is no reason to write less at once
        self._rows.learn(max(times * rows, min(self._rows.limit, BATCH_ITEMS)) if times >= 1 else times * rows)
