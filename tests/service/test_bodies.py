"""Bodies that come piece by piece: each has its limit and its time, and all together a share of memory."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from iot_receiver import bodies
from iot_receiver.bodies import Bodies, Unread


class Answering:
    """A server that reads bodies of 100 bytes at most, and 150 bytes of all at once."""

    def __init__(self) -> None:
        self.bodies = Bodies(100, 150)
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def post(self, request: web.Request) -> web.Response:
        try:
            body = await self.bodies.read(request)
        except Unread as unread:
            return unread.response
        await self.go_on.wait()
        return web.Response(body=body)


class Slow:
    """A body that comes in two pieces, the second on request."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.sent = asyncio.Event()
        self.rest = asyncio.Event()

    async def pieces(self) -> AsyncIterator[bytes]:
        yield b"x" * (self.size - 1)
        self.sent.set()
        await self.rest.wait()
        yield b"x"


@pytest.fixture
async def answering() -> Answering:
    return Answering()


@pytest.fixture
async def client(answering: Answering, aiohttp_client: Any) -> Any:
    app = web.Application()
    app.router.add_post("/", answering.post)
    return await aiohttp_client(app)


async def until_held(answering: Answering, size: int) -> None:
    for _ in range(1_500):
        if answering.bodies._held == size:
            return
        await asyncio.sleep(0.01)
    assert answering.bodies._held == size


@pytest.mark.parametrize("size", [0, 1, 100])
async def test_a_body_is_read(client: Any, answering: Answering, size: int) -> None:
    response = await client.post("/", data=b"x" * size)
    assert (response.status, await response.read()) == (200, b"x" * size)
    slow = Slow(max(2, size))
    slow.rest.set()
    response = await client.post("/", data=slow.pieces())
    assert (response.status, len(await response.read())) == (200, slow.size)
    await until_held(answering, 0)


async def test_all_together_have_a_bound(client: Any, answering: Answering) -> None:
    first, second = Slow(90), Slow(90)
    one = asyncio.create_task(client.post("/", data=first.pieces()))
    await until_held(answering, 89)
    assert (await client.post("/", data=second.pieces())).status == 503
    await until_held(answering, 89)
    answering.go_on.clear()
    first.rest.set()
    await until_held(answering, 90)  # read, and not answered yet
    assert (await client.post("/", data=second.pieces())).status == 503
    answering.go_on.set()
    assert (await one).status == 200
    await until_held(answering, 0)
    second.rest.set()
    assert (await client.post("/", data=second.pieces())).status == 200


async def test_bodies_that_came_whole_count_until_they_are_answered(client: Any, answering: Answering) -> None:
    answering.go_on.clear()
    one = asyncio.create_task(client.post("/", data=b"x" * 90))
    await until_held(answering, 90)
    assert (await client.post("/", data=b"x" * 90)).status == 503
    await until_held(answering, 90)
    two = asyncio.create_task(client.post("/", data=b"x" * 60))
    await until_held(answering, 150)
    answering.go_on.set()
    assert [(await task).status for task in (one, two)] == [200, 200]
    await until_held(answering, 0)


@pytest.mark.parametrize("size", [101, 5_000_000])
async def test_too_large_is_413(client: Any, answering: Answering, size: int) -> None:
    slow = Slow(size)
    slow.rest.set()
    assert (await client.post("/", data=slow.pieces())).status == 413
    assert (await client.post("/", data=b"x" * size)).status == 413
    await until_held(answering, 0)


async def test_too_slow_is_408(client: Any, answering: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.1)
    response = await client.post("/", data=Slow(50).pieces())
    assert response.status == 408
    await until_held(answering, 0)


async def test_a_sender_that_goes_leaves_nothing_behind(client: Any, answering: Answering) -> None:
    task = asyncio.create_task(client.post("/", data=Slow(90).pieces()))
    await until_held(answering, 89)
    task.cancel()
    await until_held(answering, 0)
