"""A DynamoDB that throttles, fails, delays and garbles on request.

It holds what it takes in memory, so that tests of time don't depend on how fast DynamoDB Local is; or it
hands it on to DynamoDB Local, so that what is stored is what that would store.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

Answer = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


@dataclass
class Faults:
    """What goes wrong, as shares from 0 to 1; `script` holds answers for the next calls, in order."""

    throttled_items: float = 0.0
    failed_calls: float = 0.0
    delay: float = 0.0
    script: list[Answer] = field(default_factory=list)
    target: str = ""  # DynamoDB Local's URL; empty: rows are held here
    rows: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    unreadable: bool = False
    refuse_device: str = ""  # a batch that holds it is refused as a whole, as DynamoDB does
    calls: list[int] = field(default_factory=list)  # the number of items in each
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    seed: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - to be the same each time


async def reset(request: web.Request) -> web.StreamResponse | None:
    """Cut the connection."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def answers(status: int, body: str) -> Answer:
    """Answer with this, whatever was asked."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=body, content_type="application/x-amz-json-1.0")

    return answer


def error(code: str, status: int = 400) -> Answer:
    """Answer with an error of DynamoDB."""
    return answers(status, json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}"}))


def late(seconds: float) -> Answer:
    """Do what was asked, but only after a while."""

    async def answer(_: web.Request) -> None:
        await asyncio.sleep(seconds)

    return answer


_FAILURES: tuple[Answer, ...] = (
    error("InternalServerError", 500),
    answers(503, "<html>busy</html>"),
    error("ThrottlingException"),
    answers(200, "{"),
    reset,
    late(0.6),
)


@asynccontextmanager
async def faulty_dynamodb() -> AsyncIterator[tuple[str, Faults]]:
    """Run it; gives its URL and the faults to set."""
    faults = Faults()
    async with ClientSession(auto_decompress=False) as session:

        async def handle(request: web.Request) -> web.StreamResponse:
            return await _handle(request, session, faults)

        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/", handle)
        async with TestServer(app, host="127.0.0.1") as server:
            yield str(server.make_url("/")), faults


async def _handle(request: web.Request, session: ClientSession, faults: Faults) -> web.StreamResponse:
    raw = await request.read()
    if not request.headers["X-Amz-Target"].endswith(".BatchWriteItem"):
        return await (
            _handed_on(request, session, faults.target, raw) if faults.target else _looked_up(request, faults)
        )
    table, writes = next(iter(json.loads(raw)["RequestItems"].items()))
    if writes:  # there are none in the receiver's call before it is ready
        faults.headers.append(dict(request.headers))
        faults.bodies.append(raw)
        faults.calls.append(len(writes))
    if writes and faults.script:
        answer = await faults.script.pop(0)(request)
        if answer is not None:
            return answer
    if writes and faults.seed.random() < faults.failed_calls:
        answer = await faults.seed.choice(_FAILURES)(request)
        if answer is not None:
            return answer
    if not writes or any(write["PutRequest"]["Item"]["deviceId"]["S"] == faults.refuse_device for write in writes):
        return (await error("ValidationException")(request)) or web.Response()
    await asyncio.sleep(faults.delay)
    left = [write for write in writes if faults.seed.random() < faults.throttled_items]
    taken = [write for write in writes if write not in left]
    if faults.target and taken:
        response = await _handed_on(
            request, session, faults.target, json.dumps({"RequestItems": {table: taken}}).encode()
        )
        if response.status != 200:
            return response
    for write in taken:
        item = write["PutRequest"]["Item"]
        faults.rows[item["deviceId"]["S"], item["Time"]["S"]] = item
    return web.json_response({"UnprocessedItems": {table: left} if left else {}})


async def _looked_up(request: web.Request, faults: Faults) -> web.StreamResponse:
    if faults.unreadable:
        return (await error("AccessDeniedException")(request)) or web.Response()
    [(table, asked)] = json.loads(await request.read())["RequestItems"].items()
    found = [faults.rows.get((key["deviceId"]["S"], key["Time"]["S"])) for key in asked["Keys"]]
    return web.json_response({"Responses": {table: [item for item in found if item]}, "UnprocessedKeys": {}})


async def _handed_on(request: web.Request, session: ClientSession, target: str, data: bytes) -> web.Response:
    """What DynamoDB Local answers."""
    headers = {name: request.headers[name] for name in ("X-Amz-Target", "Content-Type", "Authorization")}
    async with session.post(target, data=data, headers=headers) as response:
        return web.Response(status=response.status, body=await response.read(), content_type=response.content_type)
