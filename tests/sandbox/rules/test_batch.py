"""Which messages share a request."""

from __future__ import annotations

import asyncio

import pytest
from iot_sandbox.rules.actions.batch import Batcher, Limits

from tests.support.virtual import run


class Log:
    """Batches as they were sent."""

    def __init__(self, limits: Limits, seconds: float = 0) -> None:
        self.sent: list[tuple[str, list[str]]] = []
        self.batcher = Batcher[str](limits, self._send)
        self._seconds = seconds

    async def _send(self, url: str, entries: list[str]) -> None:
        await asyncio.sleep(self._seconds)
        self.sent.append((url, list(entries)))

    async def add(self, *entries: str, size: int = 10, url: str = "u", topic: str = "t") -> None:
        await asyncio.gather(*(self.batcher.add(url, topic, entry, size) for entry in entries))

    @property
    def batches(self) -> list[list[str]]:
        return [entries for _, entries in self.sent]


def test_defaults_are_awss() -> None:
    assert Limits.of({}) == Limits(20, 10, 5120, across_topics=False)
    assert Limits.of({"maxBatchOpenMs": 200, "batchAcrossTopics": True, "maxBatchSize": None}) == Limits(
        200, 10, 5120, across_topics=True
    )


async def test_a_full_batch_is_sent_at_once() -> None:
    log = Log(Limits(open_ms=5000, size=3))
    await log.add(*"abcdef")
    assert log.batches == [list("abc"), list("def")]


async def two(open_ms: int, apart: float) -> tuple[list[list[str]], float]:
    """The batches of two messages some seconds apart, and when they were sent."""
    log = Log(Limits(open_ms=open_ms))
    first = asyncio.ensure_future(log.add("a"))
    await asyncio.sleep(apart)
    await asyncio.gather(first, log.add("b"))
    return log.batches, asyncio.get_running_loop().time()


@pytest.mark.parametrize("apart", [0, 0.08])
def test_an_open_batch_is_sent_when_the_time_since_its_first_message_is_over(apart: float) -> None:
    batches, seconds = run(two(120, apart))
    assert batches == [["a", "b"]]
    assert seconds == pytest.approx(0.12)


async def test_bytes_count_brackets_and_commas() -> None:
    log = Log(Limits(open_ms=20, size_bytes=34))  # [10,10,10] is 34 bytes
    await log.add("a", "b", "c", size=10)
    assert log.batches == [["a", "b", "c"]]
    log = Log(Limits(open_ms=20, size_bytes=33))
    await log.add("a", "b", "c", size=10)
    assert log.batches == [["a", "b"], ["c"]]


async def test_a_message_beyond_the_size_goes_alone() -> None:
    log = Log(Limits(open_ms=20, size_bytes=100))
    await asyncio.gather(log.add("small"), log.add("big", size=1000), log.add("late"))
    assert sorted(log.batches) == [["big"], ["late"], ["small"]]


async def test_urls_never_share_and_topics_only_if_told() -> None:
    log = Log(Limits(open_ms=20))
    await asyncio.gather(log.add("a", topic="1"), log.add("b", topic="2"), log.add("c", url="v", topic="1"))
    assert sorted(log.sent) == [("u", ["a"]), ("u", ["b"]), ("v", ["c"])]
    log = Log(Limits(open_ms=20, across_topics=True))
    await asyncio.gather(log.add("a", topic="1"), log.add("b", topic="2"), log.add("c", url="v", topic="1"))
    assert sorted(log.sent) == [("u", ["a", "b"]), ("v", ["c"])]


async def test_closing_sends_what_is_open() -> None:
    log = Log(Limits(open_ms=60_000), seconds=0.05)
    waiting = asyncio.ensure_future(log.batcher.add("u", "t", "a", 10))
    await asyncio.sleep(0)
    await log.batcher.close()
    assert log.batches == [["a"]]
    await waiting
