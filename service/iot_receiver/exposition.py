"""GET /metrics and /rejections: the numbers go into aioprometheus' collectors at each scrape, and at no other time."""

from platform import python_version

import msgspec
from aiohttp import hdrs, web
from aioprometheus.collectors import Counter, Gauge, Registry
from aioprometheus.collectors import Histogram as HistogramCollector
from aioprometheus.histogram import Histogram

from iot_receiver import __version__
from iot_receiver.lifecycle import Lifecycle
from iot_receiver.metrics import Metrics, Observations
from iot_receiver.openmetrics import EscapingTextFormatter, OpenMetricsFormatter, wants_openmetrics
from iot_receiver.problems import not_found
from iot_receiver.secrets import Secrets
from iot_receiver.times import iso_from_ms


class Exposition:
    """Answers GET /metrics; never waits for anything."""

    def __init__(self, metrics: Metrics, lifecycle: Lifecycle, secrets: Secrets, *, public: bool) -> None:
        """Take what is exposed; `public` shows all of it to callers from the load balancer, too."""
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._secrets = secrets
        self._public = public

    async def get(self, request: web.Request) -> web.Response:
        """All metrics for a direct caller; health alone for one that came through the load balancer."""
        openmetrics = wants_openmetrics(request.headers.getall(hdrs.ACCEPT, []))
        formatter = OpenMetricsFormatter() if openmetrics else EscapingTextFormatter()
        registry = self._health() if _forwarded(request) and not self._public else self._everything()
        return web.Response(body=formatter.marshall(registry), headers=formatter.get_headers())

    async def rejections(self, request: web.Request) -> web.Response:
        """The last rejected messages, newest first. Reasons quote devices, so only direct callers get them."""
        if _forwarded(request):
            return await not_found(request)
        found = [
            {"receivedAt": iso_from_ms(each.at), "clientId": each.client_id, "reason": each.reason}
            for each in reversed(self._metrics.rejections)
        ]
        return web.Response(body=msgspec.json.encode({"rejections": found}), content_type="application/json")

    def _health(self) -> Registry:
        """What anybody may see."""
        registry = Registry()
        gauge = Gauge("iot_receiver_up", "1 while the receiver runs", registry=registry)
        gauge.set({}, 1)
        gauge = Gauge("iot_receiver_ready", "1 while the receiver accepts requests", registry=registry)
        gauge.set({}, int(self._lifecycle.ready))
        return registry

    def _everything(self) -> Registry:
        """Health, and every number of now."""
        registry = self._health()
        _add_numbers(registry, self._metrics)
        uses = Counter("iot_receiver_secret_uses_total", "Requests by the secret they gave", registry=registry)
        for (name, fingerprint), count in self._secrets.uses.items():
            uses.set({"secret": name, "fingerprint": fingerprint}, count)
        info = Gauge("iot_receiver_secret_info", "The secrets in use, by SHA-256", registry=registry)
        for name, fingerprint in self._secrets.fingerprints().items():
            info.set({"secret": name, "fingerprint": fingerprint}, 1)
        info = Gauge("iot_receiver_build_info", "The versions that run", registry=registry)
        info.set({"version": __version__, "python": python_version()}, 1)
        return registry


def _forwarded(request: web.Request) -> bool:
    return "X-Forwarded-For" in request.headers or "Forwarded" in request.headers


def _add_numbers(registry: Registry, metrics: Metrics) -> None:
    outcomes = {name: getattr(metrics, name) for name in ("stored", "rejected", "dead_lettered", "unavailable")}
    answers = {str(status): count for status, count in metrics.answers.items()}
    skewed = {"ahead": metrics.ahead, "behind": metrics.behind}
    for name, doc, label, counts in (
        ("messages", "Messages by outcome", "outcome", outcomes),
        ("requests", "Requests to /ingest by status of the answer", "status", answers),
        ("confirmations", "Destination confirmations by outcome", "outcome", metrics.confirmations),
        ("clock_skew_messages", "Messages whose time can't be right", "direction", skewed),
        ("write_failures", "Calls to DynamoDB that failed, by error", "error", metrics.write_failures),
    ):
        counter = Counter(f"iot_receiver_{name}_total", doc, registry=registry)
        for of, count in counts.items():
            counter.set({label: of}, count)
    for name, doc, value in (
        ("merged_items", "Items that shared a write with another of the same key", metrics.merged),
        ("redelivered_items", "Items that the table had already", metrics.redelivered),
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
    for queue, count in metrics.dead_letters.items():
        waiting.set({"queue": queue}, count)
    for name, doc, observations in (
        ("request_seconds", "Time to answer /ingest", metrics.request_seconds),
        ("write_seconds", "Time of a call to DynamoDB", metrics.write_seconds),
        ("batch_items", "Items in a call to DynamoDB", metrics.batch_items),
    ):
        _observe(registry, name, doc, observations)


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
