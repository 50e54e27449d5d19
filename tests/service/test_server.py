"""Requests that are not HTTP, or not served here, are answered as every other error is."""

import asyncio
import errno
import json
import math
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop
from aiohttp import web
from iot_receiver import keys
from iot_receiver import listener as listener_module
from iot_receiver.listener import Listener
from iot_receiver.server import HEADER_BYTES, HEADERS, URL_BYTES, listen, waited

from tests.service.harness import SECRET, Receiver, Table

HEAD = f"Host: h\r\nX-Iot-Secret: {SECRET}\r\nContent-Type: application/json\r\n".encode()
GOOD = b'{"deviceId":"d","temp":1}'


@pytest.fixture
async def port(receiver: Receiver) -> AsyncIterator[int]:
    """Where the receiver's own server listens."""
    runner = receiver.client.server.runner
    assert isinstance(runner, web.AppRunner)
    assert runner.server is not None
    listener = await listen(runner.server, "127.0.0.1", 0, 75)
    yield listener.listening.getsockname()[1]
    listener.close()


async def answer(port: int, request: bytes) -> tuple[int, str, bytes]:
    """Status, content type and body of the answer to some bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head.decode().splitlines()[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    writer.close()
    return int(head.split()[1]), headers.get("content-type", ""), body


def post(headers: bytes = b"", path: bytes = b"/ingest", body: bytes = GOOD) -> bytes:
    return b"POST %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (path, HEAD, headers, len(body), body)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01 echoed\r\n\r\n", 400),
        (b"ECHOED /ingest HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (post(b"echoed header\r\n"), 400),
        (post(b"X: echoed\0\r\n"), 400),
        (post(b"X: echoed\r\n" * (HEADERS + 1)), 400),
        (post(b"Content-Length: 1\r\n"), 400),
        (post(b"Transfer-Encoding: chunked\r\n"), 400),
        (b"POST /ingest HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\nechoed\r\n" % HEAD, 400),
        (post(path=b"/ingest?" + b"echoed" * URL_BYTES), 414),
        (post(b"X: " + b"echoed" * HEADER_BYTES + b"\r\n"), 431),
        (post(b"Expect: echoed\r\n"), 417),
        (post(b"Expect: echoed\r\n", path=b"/metrics"), 417),
        (post(b"Expect: echoed\r\n", path=b"/nowhere"), 417),
    ],
)
async def test_errors_of_http(port: int, request_bytes: bytes, status: int) -> None:
    got, content_type, body = await answer(port, request_bytes)
    assert (got, content_type) == (status, "application/problem+json")
    assert json.loads(body)["status"] == status
    assert b"echoed" not in body.lower()


async def test_whoever_expects_to_go_on_may(port: int, table: Table) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head, _, body = post(b"Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await reader.readline()).split()[1] == b"200"
    writer.close()
    old = post(b"Expect: 100-continue\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert (await answer(port, old))[0] == 200


async def test_a_failing_handler_is_reported_without_its_words(
    port: int, receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("echoed")

    monkeypatch.setattr("iot_receiver.exposition.wants_openmetrics", fail)
    status, content_type, body = await answer(port, b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (status, content_type) == (500, "application/problem+json")
    assert b"echoed" not in body
    assert "a request could not be handled" in caplog.messages
    assert "echoed" not in caplog.text


async def test_bodies_larger_than_what_is_read_ahead(port: int, table: Table) -> None:
    for size in (30_000, 70_000, 300_000, 524_288):
        assert (await answer(port, post(body=GOOD.ljust(size))))[0] == 200
    assert len(table.rows()) == 4


async def test_what_waited_too_long_to_be_read_is_not_stored(port: int, table: Table, deadline: float) -> None:
    """A processor that had no time for a while goes on with those who are still there in time."""
    with socket.create_connection(("127.0.0.1", port)) as sender:
        sender.sendall(post())
        time.sleep(deadline)  # noqa: ASYNC251 - nothing is read meanwhile
        with sender.makefile("rb") as answered:
            text = await asyncio.to_thread(answered.read)  # to its end: the connection is given up as well
    assert text.startswith(b"HTTP/1.1 503 ")
    assert b"connection: close" in text.lower()
    assert table.rows() == []


@pytest.mark.parametrize("waits", [0.0, 0.1])
async def test_where_requests_wait_to_be_read_an_overload_closes_connections(
    port: int, receiver: Receiver, waits: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is kept sends the next one at once, which costs as much as a reading that could be stored."""
    monkeypatch.setattr(receiver.app[keys.STORE], "overloaded", lambda *_: True)
    monkeypatch.setattr("iot_receiver.ingest.STARVED_SECONDS", 0.05 if waits else math.inf)
    with socket.create_connection(("127.0.0.1", port)) as sender:
        sender.sendall(post())
        time.sleep(waits)  # noqa: ASYNC251 - nothing is read meanwhile
        text = await asyncio.to_thread(sender.recv, 4_096)
    assert text.startswith(b"HTTP/1.1 503 ")
    assert (b"connection: close" in text.lower()) == bool(waits)


def test_senders_that_have_given_up_are_recognised() -> None:
    """Before their connection is accepted, or later; in the loop of production, which hears of it after the request."""
    handled = []

    async def handle(request: web.BaseRequest) -> web.Response:
        handled.append(waited(request))
        return web.Response()

    async def serve() -> None:
        listener = await listen(web.Server(handle), "127.0.0.1", 0, 75)
        port = listener.listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as sender:
            sender.sendall(post())
        assert (await answer(port, post()))[0] == 200
        with socket.create_connection(("127.0.0.1", port)) as sender:
            sender.sendall(post())
            await asyncio.to_thread(sender.recv, 4_096)
            sender.sendall(post())
        assert (await answer(port, post()))[0] == 200
        listener.close()

    uvloop.run(serve())
    assert [late == math.inf for late in handled] == [False, False, True, False]


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Listener, list[str]]]:
    """A listener, and the paths it was asked for in their order."""
    asked = []

    async def handle(request: web.BaseRequest) -> web.Response:
        asked.append(request.path)
        return web.Response()

    listener = await listen(web.Server(handle), "127.0.0.1", 0, 75)
    yield listener, asked
    if listener.listening.fileno() >= 0:
        listener.close()


def waiting(listener: Listener, count: int, method: bytes = b"POST") -> list[socket.socket]:
    """Connections with a request each, while the loop has no time."""
    connections = [socket.create_connection(listener.listening.getsockname(), timeout=10) for _ in range(count)]
    for number, connection in enumerate(connections):
        connection.sendall(post(path=b"/%d" % number).replace(b"POST", method))
    return connections


async def answers(connections: list[socket.socket]) -> list[bytes]:
    """The first bytes of each answer; none where the connection was closed instead."""
    found = []
    for connection in connections:
        with connection, suppress(ConnectionResetError):
            found.append(await asyncio.to_thread(connection.recv, 12))
    return found


def run_each(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run in the loop of production, and in asyncio's own."""
    for factory in (uvloop.new_event_loop, asyncio.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(work())


def test_the_newest_connection_is_served_first() -> None:
    async def serve() -> None:
        async with listening() as (listener, asked):
            assert await answers(waiting(listener, 20)) == [b"HTTP/1.1 200"] * 20
        assert asked == [f"/{number}" for number in reversed(range(20))]

    run_each(serve)


def test_connections_that_wait_for_longer_than_any_sender_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve() -> None:
        async with listening() as (listener, asked):
            monkeypatch.setattr(listener_module, "GIVEN_UP_SECONDS", -1.0)
            assert b"HTTP" not in b"".join(await answers(waiting(listener, 3)))
            monkeypatch.undo()
            assert await answers(waiting(listener, 1)) == [b"HTTP/1.1 200"]
        assert asked == ["/0"]

    run_each(serve)


def test_while_requests_take_long_no_connection_is_added_except_health_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve() -> None:
        async with listening() as (listener, asked):
            monkeypatch.setattr(listener_module, "TURNS_SECONDS", 0.0)
            messages = waiting(listener, 3)
            checks = waiting(listener, 2, b"GET")
            assert await answers(checks) == [b"HTTP/1.1 200"] * 2
            assert asked == ["/1", "/0"]
            monkeypatch.undo()
            assert await answers(messages) == [b"HTTP/1.1 200"] * 3

    run_each(serve)


def test_whoever_has_connected_before_the_end_is_served() -> None:
    async def serve() -> None:
        async with listening() as (listener, asked):
            connections = waiting(listener, 3)
            listener.close()
            assert listener.opening
            assert await answers(connections) == [b"HTTP/1.1 200"] * 3
            assert not listener.opening
        assert len(asked) == 3

    run_each(serve)


class Crowded(socket.socket):
    """A listening socket of a process that has no file descriptor left for a first connection."""

    full = True

    def accept(self) -> tuple[socket.socket, Any]:
        if self.full:
            self.full = False
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


class Protocol(asyncio.Protocol):
    """Closes each connection that it gets."""

    def __init__(self) -> None:
        self.got = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.got.set()
        transport.close()


def test_a_connection_that_can_not_be_accepted_is_accepted_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "PAUSE_SECONDS", 0.01)

    async def serve() -> None:
        protocol = Protocol()
        with Crowded() as listening_socket:
            listening_socket.bind(("127.0.0.1", 0))
            listening_socket.listen()
            listening_socket.setblocking(False)
            listener = Listener(listening_socket, lambda _: protocol)
            with socket.create_connection(listening_socket.getsockname()):
                await asyncio.wait_for(protocol.got.wait(), 10)
            assert not listening_socket.full
            listener.close()

    run_each(serve)
