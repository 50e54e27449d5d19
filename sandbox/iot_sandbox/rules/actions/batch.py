"""Gathers messages for one request, as the HTTP action's batching does.

https://docs.aws.amazon.com/iot/latest/developerguide/http_batching.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Entry = TypeVar("Entry")


@dataclass(frozen=True, slots=True)
class Limits:
    """A batch is sent when the first limit is reached: ms open, number of messages, bytes of the body."""

    open_ms: int = 20
    size: int = 10
    size_bytes: int = 5120
    across_topics: bool = False

    @classmethod
    def of(cls, configuration: Mapping[str, Any]) -> Limits:
        """From the API's batchConfig; what is missing takes AWS's default."""
        names = {
            "open_ms": "maxBatchOpenMs",
            "size": "maxBatchSize",
            "size_bytes": "maxBatchSizeBytes",
            "across_topics": "batchAcrossTopics",
        }
        return cls(**{ours: configuration[aws] for ours, aws in names.items() if configuration.get(aws) is not None})


@dataclass(slots=True)
class _Open(Generic[Entry]):
    entries: list[Entry] = field(default_factory=list)
    size_bytes: int = 2  # the array's brackets
    timer: asyncio.TimerHandle | None = None
    sent: asyncio.Event = field(default_factory=asyncio.Event)


class Batcher(Generic[Entry]):
    """Batches by key (URL, topic): messages of different keys never share one."""

    def __init__(self, limits: Limits, send: Callable[[str, list[Entry]], Awaitable[None]]) -> None:
        self._limits = limits
        self._send = send
        self._open: dict[tuple[str, str], _Open[Entry]] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def add(self, url: str, topic: str, entry: Entry, size: int) -> None:
        """Adds an entry of ``size`` bytes; returns when its batch has been sent or has failed."""
        key = url, "" if self._limits.across_topics else topic
        batch = self._open.get(key)
        if batch and batch.size_bytes + size + 1 > self._limits.size_bytes:
            self._close(key)
            batch = None
        if batch is None:
            batch = self._open[key] = _Open()
            loop = asyncio.get_running_loop()
            batch.timer = loop.call_later(self._limits.open_ms / 1000, self._close, key)
        batch.size_bytes += size + (1 if batch.entries else 0)
        batch.entries.append(entry)
        if len(batch.entries) >= self._limits.size or batch.size_bytes >= self._limits.size_bytes:
            self._close(key)
        await batch.sent.wait()

    def _close(self, key: tuple[str, str]) -> None:
        batch = self._open.pop(key)
        if batch.timer:
            batch.timer.cancel()
        task = asyncio.ensure_future(self._finish(key[0], batch))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _finish(self, url: str, batch: _Open[Entry]) -> None:
        try:
            await self._send(url, batch.entries)
        finally:
            batch.sent.set()

    async def close(self) -> None:
        """Sends open batches and waits for those being sent."""
        for key in list(self._open):
            self._close(key)
        await asyncio.gather(*self._sending)
