"""What is counted, in plain numbers: an observation through aioprometheus costs twenty times an addition."""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

LATENCY_BOUNDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5)
BATCH_BOUNDS = (1, 2, 3, 5, 8, 12, 18, 24, 25)
REJECTIONS = 50


class Observations:
    """A histogram as a list of counts."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message that was no reading: when (milliseconds since 1970), by which MQTT client, and why."""

    at: int
    client_id: str | None
    reason: str


@dataclass(slots=True)
class Metrics:
    """The numbers of one process, since its start unless said otherwise."""

    stored: int = 0
    rejected: int = 0
    dead_lettered: int = 0
    unavailable: int = 0
    answers: dict[int, int] = field(default_factory=dict)  # requests to /ingest by status
    confirmations: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("confirmed", "refused", "limited", "failed"), 0)
    )
    ahead: int = 0
    behind: int = 0
    merged: int = 0
    redelivered: int = 0
    retried: int = 0
    unprocessed: int = 0
    throttled: int = 0
    write_failures: dict[str, int] = field(default_factory=dict)  # by DynamoDB's error or exception
    request_seconds: Observations = field(default_factory=lambda: Observations(LATENCY_BOUNDS))
    write_seconds: Observations = field(default_factory=lambda: Observations(LATENCY_BOUNDS))
    batch_items: Observations = field(default_factory=lambda: Observations(BATCH_BOUNDS))
    dead_letters: dict[str, int] = field(default_factory=dict)  # waiting now, by queue
    rejections: deque[Rejected] = field(default_factory=lambda: deque(maxlen=REJECTIONS))  # the last ones
    queued: int = 0  # items now accepted and not yet settled
    writes_in_flight: int = 0  # now
