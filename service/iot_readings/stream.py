"""New readings as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from aiohttp import web

from iot_readings.readings import Reading

MOST_STREAMS = 1_000
BUFFERED = 1_000  # readings that wait for a slow client; older ones are dropped, and counted for it
HEARTBEAT_SECONDS = 15.0
SLOW_SECONDS = 30.0  # a client that takes nothing for so long is given up

_encode = msgspec.json.Encoder().encode


class Full(Exception):  # noqa: N818 - a state, not a fault
    """There are as many streams as there may be."""


class Subscription:
    """What waits for one client."""

    def __init__(self, devices: Sequence[str]) -> None:
        self.devices = devices
        self._waiting: deque[Reading] = deque(maxlen=BUFFERED)
        self._dropped = 0
        self._news = asyncio.Event()

    def put(self, reading: Reading) -> None:
        """Take a reading for the client."""
        self._dropped += len(self._waiting) == BUFFERED
        self._waiting.append(reading)
        self._news.set()

    async def next(self) -> bytes:
        """Wait for news, or for the time at which the client needs a sign of life."""
        try:
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await self._news.wait()
        except TimeoutError:
            return b": \n\n"
        self._news.clear()
        readings, self._waiting = self._waiting, deque(maxlen=BUFFERED)
        events = [_event("dropped", {"count": self._dropped})] if self._dropped else []
        self._dropped = 0
        return b"".join([*events, *(_event("reading", reading.document()) for reading in readings)])


class Streams:
    """All open streams, and which devices they follow."""

    def __init__(self) -> None:
        self._all: set[Subscription] = set()
        self._by_device: dict[str, set[Subscription]] = {}
        self._followed: Counter[str] = Counter()
        self.open = 0

    def named(self) -> Iterator[str]:
        """The devices that streams name."""
        return iter(self._followed)

    @property
    def everything(self) -> bool:
        """Whether a stream follows the whole fleet."""
        return bool(self._all)

    def publish(self, reading: Reading) -> None:
        """Give a reading to all whom it concerns; nobody is waited for."""
        for subscription in (*self._all, *self._by_device.get(reading.device, ())):
            subscription.put(reading)

    @contextmanager
    def subscribed(self, devices: Sequence[str]) -> Iterator[Subscription]:
        """Follow these devices, or all when there are none named.

        Raises:
            Full: when there are too many streams.
        """
        if self.open >= MOST_STREAMS:
            raise Full
        subscription = Subscription(devices)
        self.open += 1
        if not devices:
            self._all.add(subscription)
        for name in devices:
            self._by_device.setdefault(name, set()).add(subscription)
            self._followed[name] += 1
        try:
            yield subscription
        finally:
            self.open -= 1
            self._all.discard(subscription)
            for name in devices:
                self._by_device[name].discard(subscription)
                self._followed[name] -= 1
                if not self._followed[name]:
                    del self._by_device[name], self._followed[name]


async def serve(request: web.Request, streams: Streams, devices: Sequence[str]) -> web.StreamResponse:
    """Send events until the client goes, or takes nothing any more.

    Raises:
        Full: when there are too many streams.
    """
    with streams.subscribed(devices) as subscription:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        await response.prepare(request)
        await response.write(b"retry: 2000\n\n")
        while True:
            events = await subscription.next()
            try:
                async with asyncio.timeout(SLOW_SECONDS):
                    await response.write(events)
            except (TimeoutError, ConnectionError):
                if request.transport is not None:
                    request.transport.abort()
                return response


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(data))
