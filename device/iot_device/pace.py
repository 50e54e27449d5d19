"""How fast one connection may publish: below the limits behind it, and slower once the broker complains.

AWS IoT Core allows one connection 100 publishes a second, and answers QUOTA_EXCEEDED beyond that. DynamoDB takes 1,000
writes a second under one partition key, the deviceId, and throttles beyond that; of this the device learns nothing: the
broker has acknowledged the readings, and they end as dead letters.
"""

from dataclasses import dataclass, field

GENTLE_S = 1.0  # complaints within this time count once: their publishes were in flight already
BURST_S = 0.1  # of readings that may go at once
REGAIN = 0.02  # of the limit, each second without a complaint


@dataclass
class Pace:
    """A token bucket. `limit` is in publishes a second, `readings_limit` in readings, 0 for none; times are monotonic.

    The bucket's depth is taken off the rate, so that no interval of a second sees more than the limit; and another
    hundredth, since a publish that leaves a moment late counts in the broker's next second.
    """

    limit: float = 100.0
    readings_limit: float = 0.0
    rate: float = field(init=False)
    """Publishes a second at the moment."""

    def __post_init__(self) -> None:
        self._depth = max(1.0, self.limit * 0.03)
        self._full = max(self.limit * 0.99 - self._depth, self.limit / 2)
        self.rate = self._full
        self._tokens = self._depth
        self._seen = self._complained = self._due = float("-inf")

    def delay(self, now: float, readings: int = 1) -> float:
        """Return the seconds until a publish of so many readings is due; 0 counts it as sent."""
        if now < self._due:
            return self._due - now
        if delay := self._publish_delay(now):
            return delay
        if self.readings_limit:
            self._due = max(self._due, now - BURST_S) + readings / self.readings_limit
        return 0.0

    def _publish_delay(self, now: float) -> float:
        if not self.limit:
            return 0.0
        past = min(now - self._seen, 3600.0)
        self._seen = now
        if now - self._complained > GENTLE_S:
            self.rate = min(self._full, self.rate + REGAIN * self.limit * past)
        self._tokens = min(self._depth, self._tokens + past * self.rate)
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self.rate

    def slow(self, now: float) -> bool:
        """Halve the rate: the broker complained. Returns whether that was news."""
        if not self.limit or now - self._complained < GENTLE_S:
            return False
        self._complained = now
        self.rate = max(self.rate / 2, min(1.0, self._full))
        self._tokens = 0.0
        return True
