"""What a large body costs the event loop: others are served while it is read, and no part of it takes long."""

import asyncio
import sys
from base64 import b64encode
from types import FrameType
from typing import Any

import pytest
from iot_receiver import elements, ingest
from iot_receiver.messages import BodyError

from tests.service.harness import Make
from tests.service.test_messages import parser

LARGEST = 524_288  # bytes of a body


def array(element: bytes, count: int = 0) -> bytes:
    """An array of that many elements, or of as many as fit."""
    return array_of([element] * (count or LARGEST // (len(element) + 1) - 1))


def array_of(elements: list[bytes]) -> bytes:
    return b"[" + b",".join(elements) + b"]"


def envelope(payload: bytes) -> bytes:
    return b'{"iot_payload":"%b","iot_client_id":"d"}' % b64encode(payload)


HUGE = {
    "elements": array(b"1"),
    "elements of a payload": envelope(array(b"1", 190_000)),
    "nested": b"[" * LARGEST,
    "nested to its end": b"[" * (LARGEST // 2) + b"]" * (LARGEST // 2),
    "nested objects": b'{"a":' * (LARGEST // 6) + b"1" + b"}" * (LARGEST // 6),
    "objects that never end": array(b"{"),
    "arrays beside each other": array(b"[NaN]"),
    "an array of arrays": b"[[NaN," + b",".join([b"[],{}"] * 80_000) + b"]]",
    "members": b"{" + b",".join([b'"k%d":1' % number for number in range(45_000)]) + b"}",
    "empty payloads": array(envelope(array(b"{}", 1_000))),
    "payloads that are not JSON": array(envelope(array(b"NaN", 1_000))),
    "readings": array_of([envelope(array_of([b'{"deviceId":"d","temp":%d}' % value] * 1_000)) for value in range(10)]),
    "text": b'["' + b"\\\\" * 250_000 + b'"]',
}


@pytest.mark.parametrize("kind", HUGE)
def test_no_part_of_a_body_takes_many_steps(kind: str) -> None:
    """Python's own calls are what takes the time: 20 ms are far more than this many."""
    most, total = steps(kind)
    assert most < 30_000
    if kind not in {"empty payloads", "readings"}:  # 10,000 messages, each of which is answered
        assert total < 80_000


def steps(kind: str) -> tuple[int, int]:
    """Python's calls in the part that takes most of them, and in all parts together."""
    calls = most = total = 0

    def count(_: FrameType, event: str, __: Any) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    parts = parser().parts(HUGE[kind])
    sys.setprofile(count)
    try:
        while True:
            calls = 0
            next(parts)
            most, total = max(most, calls), total + calls
    except (StopIteration, BodyError):
        most, total = max(most, calls), total + calls
    finally:
        sys.setprofile(None)
    return most, total


def test_what_is_left_out_is_not_even_split() -> None:
    assert len(elements.split(array(b"1"), 1_001)) == 1_001
    with pytest.raises(ValueError, match="the body is not JSON"):
        elements.split(array(b"{"), 1_001)


def test_more_readings_than_ten_full_payloads_are_refused() -> None:
    full = envelope(array(b"{}", 1_000))
    assert len(parser().parse(array(full, 10))) == 10_000
    with pytest.raises(BodyError, match="more than 10000 readings") as raised:
        parser().parse(array(full, 11))
    assert raised.value.status == 413


async def test_others_are_served_while_a_body_is_read(make_receiver: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "SLICE_SECONDS", 0.0)
    receiver = await make_receiver()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    body = array(envelope(array(b"{}", 1_000)), 5)
    handler = ingest.Ingest(receiver.app)
    counting = asyncio.create_task(others())
    await asyncio.sleep(0)
    assert len(await handler._parsed(body)) == 5_000
    counting.cancel()
    assert turns >= 5_000 / 50
