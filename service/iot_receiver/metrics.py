"""What is counted, in plain numbers, and its exposition through aioprometheus at each scrape.

An observation through aioprometheus costs twenty times an addition, so its collectors are only filled
when somebody looks.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from platform import python_version

from aiohttp import hdrs, web
from aioprometheus.collectors import Counter, Gauge, Registry
from aioprometheus.collectors import Histogram as HistogramCollector
from aioprometheus.histogram import Histogram

from iot_receiver import __version__
from iot_receiver.openmetrics import EscapingTextFormatter, OpenMetricsFormatter, wants_openmetrics

LATENCY_BOUNDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5)
BATCH_BOUNDS = (1, 2, 3, 5, 8, 12, 18, 24, 25)


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
    retried: int = 0
    unprocessed: int = 0
    throttled: int = 0
    write_failures: dict[str, int] = field(default_factory=dict)  # by DynamoDB's error or exception
    request_seconds: Observations = field(default_factory=lambda: Observations(LATENCY_BOUNDS))
    write_seconds: Observations = field(default_factory=lambda: Observations(LATENCY_BOUNDS))
    batch_items: Observations = field(default_factory=lambda: Observations(BATCH_BOUNDS))
    waiting_letters: dict[str, int] = field(default_factory=dict)  # now, by dead-letter queue
    queued: int = 0  # items now accepted and not yet settled
    writes_in_flight: int = 0  # now


class Exposition:
    """Answers GET /metrics; never waits for anything."""

    def __init__(self, metrics: Metrics, *, public: bool) -> None:
        self._metrics = metrics
        self._public = public

    async def get(self, request: web.Request) -> web.Response:
        """All metrics to who asks directly; health alone to who comes through the load balancer."""
        state = State.of(request)
        openmetrics = wants_openmetrics(request.headers.getall(hdrs.ACCEPT, []))
        formatter = OpenMetricsFormatter() if openmetrics else EscapingTextFormatter()
        forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
        registry = health(state) if forwarded and not self._public else everything(self._metrics, state)
        return web.Response(body=formatter.marshall(registry), headers=formatter.get_headers())


@dataclass(frozen=True, slots=True)
class State:
    """What is no number of its own: asked for at each scrape."""

    ready: bool
    fingerprints: Mapping[str, str]
    secret_uses: Mapping[tuple[str, str], int]  # by name and fingerprint

    @classmethod
    def of(cls, request: web.Request) -> "State":
        """The state of the application that `request` reached."""
        from iot_receiver import keys  # noqa: PLC0415 - keys names the metrics' type

        secrets = request.app[keys.SECRETS]
        return cls(request.app[keys.LIFECYCLE].ready, secrets.fingerprints(), secrets.uses)


def health(state: State) -> Registry:
    """What anybody may see."""
    registry = Registry()
    gauge = Gauge("iot_receiver_up", "1 while the receiver runs", registry=registry)
    gauge.set({}, 1)
    gauge = Gauge("iot_receiver_ready", "1 while the receiver wants requests", registry=registry)
    gauge.set({}, int(state.ready))
    return registry


def everything(metrics: Metrics, state: State) -> Registry:
    """The collectors, filled with the numbers of now."""
    registry = health(state)
    _count(
        registry,
        "messages",
        "Messages by what became of them",
        "outcome",
        {
            "stored": metrics.stored,
            "rejected": metrics.rejected,
            "dead_lettered": metrics.dead_lettered,
            "unavailable": metrics.unavailable,
        },
    )
    answers = {str(status): count for status, count in metrics.answers.items()}
    _count(registry, "requests", "Requests to /ingest by status of the answer", "status", answers)
    _count(registry, "confirmations", "Destination confirmations by outcome", "outcome", metrics.confirmations)
    skewed = {"ahead": metrics.ahead, "behind": metrics.behind}
    _count(registry, "clock_skew_messages", "Messages whose time can't be right", "direction", skewed)
    uses = Counter("iot_receiver_secret_uses_total", "Requests by the secret they gave", registry=registry)
    for (name, fingerprint), count in state.secret_uses.items():
        uses.set({"secret": name, "fingerprint": fingerprint}, count)
    _count(
        registry,
        "write_failures",
        "Calls to DynamoDB that failed, by error",
        "error",
        metrics.write_failures,
    )
    for name, doc, value in (
        ("merged_items", "Items that shared a write with another of the same key", metrics.merged),
        ("retried_items", "Items sent to DynamoDB again", metrics.retried),
        ("unprocessed_items", "Items that DynamoDB left out of a batch", metrics.unprocessed),
        ("throttled_writes", "Calls that DynamoDB throttled as a whole", metrics.throttled),
    ):
        Counter(f"iot_receiver_{name}_total", doc, registry=registry).set({}, value)
    for name, doc, value in (
        ("queue_items", "Items accepted and not yet settled", metrics.queued),
        ("writes_in_flight", "Calls to DynamoDB under way", metrics.writes_in_flight),
    ):
        Gauge(f"iot_receiver_{name}", doc, registry=registry).set({}, value)
    waiting = Gauge("iot_receiver_dead_letters", "Messages that wait on a dead-letter queue", registry=registry)
    for queue, count in metrics.waiting_letters.items():
        waiting.set({"queue": queue}, count)
    _observe(registry, "request_seconds", "Time to answer /ingest", metrics.request_seconds)
    _observe(registry, "write_seconds", "Time of a call to DynamoDB", metrics.write_seconds)
    _observe(registry, "batch_items", "Items in a call to DynamoDB", metrics.batch_items)
    info = Gauge("iot_receiver_secret_info", "The secrets in use, by SHA-256", registry=registry)
    for name, fingerprint in state.fingerprints.items():
        info.set({"secret": name, "fingerprint": fingerprint}, 1)
    info = Gauge("iot_receiver_build_info", "What runs", registry=registry)
    info.set({"version": __version__, "python": python_version()}, 1)
    return registry


def _count(registry: Registry, name: str, doc: str, label: str, counts: Mapping[str, int]) -> None:
    counter = Counter(f"iot_receiver_{name}_total", doc, registry=registry)
    for value, count in counts.items():
        counter.set({label: value}, count)


def _observe(registry: Registry, name: str, doc: str, observations: Observations) -> None:
    collector = HistogramCollector(f"iot_receiver_{name}", doc, registry=registry, buckets=observations.bounds)
    histogram = Histogram(*observations.bounds)
    total = 0
    for bound, count in zip(histogram.buckets, observations.counts, strict=True):
        total += count
        histogram.buckets[bound] = total
    histogram.observations = total
    histogram.sum = observations.sum
    collector.set_value({}, histogram)
