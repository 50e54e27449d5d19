"""Requests that are not HTTP, or not served here, are answered as every other error is."""

import asyncio
import errno
import json
import math
import random
import select
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
import uvloop
from aiohttp import web
from iot_receiver import keys
from iot_receiver import listener as listener_module
from iot_receiver.listener import Listener, Queues
from iot_receiver.server import HEADER_BYTES, HEADERS, SOCKET_BYTES, URL_BYTES, listen, listen_for_checks, waited

from tests.service.harness import SECRET, Receiver, Table

HEAD = f"Host: h\r\nX-Iot-Secret: {SECRET}\r\nContent-Type: application/json\r\n".encode()
GOOD = b'{"deviceId":"d","temp":1}'
CONNECTING = """
import contextlib, os, socket, sys
senders = []
for _ in range(800):
    with contextlib.suppress(ConnectionResetError):
        senders.append(socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
    os.write(1, b".")
os.close(1)
sys.stdin.read()
"""


@pytest.fixture
async def port(receiver: Receiver) -> AsyncIterator[int]:
    """Where the receiver's own server listens."""
    runner = receiver.client.server.runner
    assert isinstance(runner, web.AppRunner)
    assert runner.server is not None
    listener = listen(runner.server, "127.0.0.1", 0, 75)
    yield listener.queues.address[1]
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


@pytest.mark.parametrize("waits", [0.0, 0.2])
@pytest.mark.parametrize("overloaded", [False, True])
async def test_where_requests_wait_to_be_read_connections_are_closed(
    port: int, receiver: Receiver, waits: float, overloaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is kept sends the next one at once, and of many connections each costs more."""
    if overloaded:
        monkeypatch.setattr(receiver.app[keys.STORE], "overloaded", lambda *_: True)
    monkeypatch.setattr("iot_receiver.ingest.STARVED_SECONDS", 0.12 if waits else math.inf)
    with socket.create_connection(("127.0.0.1", port)) as sender:
        sender.sendall(post())
        time.sleep(waits)  # noqa: ASYNC251 - nothing is read meanwhile
        text = await asyncio.to_thread(sender.recv, 4_096)
    assert text.startswith(b"HTTP/1.1 503 " if overloaded else b"HTTP/1.1 200 ")
    assert (b"connection: close" in text.lower()) == bool(waits)


def test_senders_that_have_given_up_are_recognised() -> None:
    """Before their connection is accepted, or later; in the loop of production, which hears of it after the request."""
    handled = []

    async def handle(request: web.BaseRequest) -> web.Response:
        handled.append(waited(request))
        return web.Response()

    async def serve() -> None:
        listener = listen(web.Server(handle), "127.0.0.1", 0, 75)
        port = listener.queues.address[1]
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

    listener = listen(web.Server(handle), "127.0.0.1", 0, 75)
    yield listener, asked
    if not listener.closed:
        listener.close()


def waiting(listener: Listener, count: int, path: bytes = b"") -> list[socket.socket]:
    """Connections with a request each, while the loop has no time."""
    connections = [socket.create_connection(listener.queues.address, timeout=10) for _ in range(count)]
    for number, connection in enumerate(connections):
        connection.sendall(post(path=b"/%s%d" % (path, number)))
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


def test_the_newest_connections_are_served_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve() -> None:
        async with listening() as (listener, asked):
            monkeypatch.setattr(listener_module, "TURNS_SECONDS", 0.0)  # while requests take long, none is added
            connections = []
            for path in (b"a", b"b", b"c"):
                connections += waiting(listener, 3, path)
                await asyncio.sleep(1.5 * listener_module.QUEUE_SECONDS)
            assert asked == []
            monkeypatch.undo()
            assert await answers(connections) == [b"HTTP/1.1 200"] * 9
            assert asked == [f"/{path}{number}" for path in "cba" for number in range(3)]
            assert await answers(waiting(listener, 5)) == [b"HTTP/1.1 200"] * 5

    run_each(serve)


@pytest.mark.parametrize(("most", "kept"), [(listener_module.KEPT_MOST, 0.6), (0, 60.0)])
def test_connections_that_wait_for_longer_than_any_sender_are_closed(
    monkeypatch: pytest.MonkeyPatch, most: int, kept: float
) -> None:
    """While others are to be served, only when there is no room for them or after a longer time."""

    async def serve() -> None:
        async with listening() as (listener, asked):
            monkeypatch.setattr(listener_module, "TURNS_SECONDS", 0.0)
            monkeypatch.setattr(listener_module, "GIVEN_UP_SECONDS", 0.2)
            monkeypatch.setattr(listener_module, "KEPT_SECONDS", kept)
            monkeypatch.setattr(listener_module, "KEPT_MOST", most)
            began = time.monotonic()
            assert b"HTTP" not in b"".join(await answers(waiting(listener, 3)))
            assert most == 0 or time.monotonic() - began > kept
            monkeypatch.undo()
            assert await answers(waiting(listener, 1)) == [b"HTTP/1.1 200"]
        assert asked == ["/0"]

    run_each(serve)


def test_those_who_waited_too_long_are_closed_once_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve() -> None:
        async with listening() as (listener, asked):
            monkeypatch.setattr(listener_module, "TURNS_SECONDS", 0.0)
            monkeypatch.setattr(listener_module, "GIVEN_UP_SECONDS", 0.2)
            late = waiting(listener, 3, b"late")
            await asyncio.sleep(0.5)
            monkeypatch.setattr(listener_module, "TURNS_SECONDS", 0.2)
            assert await answers(waiting(listener, 1)) == [b"HTTP/1.1 200"]
            assert b"HTTP" not in b"".join(await answers(late))
        assert asked == ["/0"]

    run_each(serve)


def test_after_an_overload_one_queue_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was about to connect to an older one while that was emptied is served, too."""

    async def serve() -> None:
        async with listening() as (listener, asked):
            monkeypatch.setattr(listener_module, "TURNS_SECONDS", 0.0)
            monkeypatch.setattr(listener_module, "GIVEN_UP_SECONDS", 0.5)
            connections = waiting(listener, 2)
            await asyncio.sleep(0.25)
            monkeypatch.setattr(listener_module, "TURNS_SECONDS", 0.2)
            assert await answers(connections) == [b"HTTP/1.1 200"] * 2
            assert len([*listener.queues]) > 1
            await asyncio.sleep(0.8)
            assert len([*listener.queues]) == 1
            assert await answers(waiting(listener, 2, b"later")) == [b"HTTP/1.1 200"] * 2
        assert asked == ["/0", "/1", "/later0", "/later1"]

    run_each(serve)


def test_new_connections_are_in_the_newest_queue_whichever_are_closed() -> None:
    chance = random.Random(5)  # noqa: S311 - to be the same each time
    queues = Queues("127.0.0.1", 0, SOCKET_BYTES)
    older: list[socket.socket] = []
    for _ in range(60):
        if older and chance.random() < 0.45:
            queues.close(older.pop(chance.randrange(len(older))))
        else:
            older.append(queues.newest)
            queues.add(5)
        for _ in range(3):
            with socket.create_connection(queues.address), queues.newest.accept()[0]:
                pass
    queues.end()


def test_new_connections_are_in_the_newest_queue_while_others_are_closed() -> None:
    """Which takes a while, as each connection in it has to be ended."""
    queues = Queues("127.0.0.1", 0, SOCKET_BYTES)
    with ExitStack() as senders:
        older = []
        for _ in range(3):
            for _ in range(300):
                senders.enter_context(socket.create_connection(queues.address))
            older.append(queues.newest)
            queues.add(4_096)
        command = [sys.executable, "-c", CONNECTING, str(queues.address[1])]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin
            assert process.stdout
            for queue in older:
                process.stdout.read(1)
                queues.close(queue)
            process.stdout.read()
            came = 0
            while select.select([queues.newest], [], [], 0.2)[0]:
                queues.newest.accept()[0].close()
                came += 1
            process.stdin.close()
        assert came >= 799  # one may come just between the newest's former number and its new one
    queues.end()


def test_where_no_queue_can_be_begun_connections_wait_in_the_one_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on nodes whose memory for such programs is used up (net.core.bpf_jit_limit)."""

    def used_up(*_: object) -> None:
        raise OSError(524, "unknown error 524")

    async def serve() -> None:
        async with listening() as (listener, _):
            monkeypatch.setattr(Queues, "_choose", used_up)
            monkeypatch.setattr(listener_module, "TURNS_SECONDS", 0.0)
            connections = waiting(listener, 3)
            await asyncio.sleep(2.5 * listener_module.QUEUE_SECONDS)
            assert len([*listener.queues]) == 1
            monkeypatch.undo()
            assert await answers(connections + waiting(listener, 3)) == [b"HTTP/1.1 200"] * 6

    run_each(serve)


def test_those_who_have_given_up_do_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve() -> None:
        async with listening() as (listener, asked):
            monkeypatch.setattr(listener_module, "GIVEN_UP_MOST", 4)
            connections = waiting(listener, 41)
            for connection in connections[:40]:
                connection.close()
            turns = 0
            while not asked:
                turns += 1
                await asyncio.sleep(0)
            assert turns > 10
            assert await answers(connections[40:]) == [b"HTTP/1.1 200"]

    run_each(serve)


def test_connections_beyond_what_the_kernel_may_keep_are_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is refused asks again at once, which makes an overload worse."""

    async def serve() -> None:
        async with listening() as (listener, _):
            monkeypatch.setattr(listener_module, "TURNS_SECONDS", 0.0)
            monkeypatch.setattr(listener_module, "WAITING_MOST", 1)
            monkeypatch.setattr(listener_module, "BACKLOG_CROWDED", 1)
            connections = waiting(listener, 3)
            await asyncio.sleep(2.5 * listener_module.QUEUE_SECONDS)
            waits = [socket.create_connection(listener.queues.address) for _ in range(2)]
            with pytest.raises(TimeoutError):
                socket.create_connection(listener.queues.address, timeout=0.2)
            for connection in connections + waits:
                connection.close()

    run_each(serve)


def test_an_address_in_use_is_refused() -> None:
    queues = Queues("127.0.0.1", 0, SOCKET_BYTES)
    with pytest.raises(OSError, match="in use"):
        Queues("127.0.0.1", queues.address[1], SOCKET_BYTES)
    queues.end()


def test_health_checks_do_not_wait_among_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    async def alive(_: web.BaseRequest) -> web.Response:
        return web.Response()

    async def serve() -> None:
        async with listening() as (listener, asked):
            monkeypatch.setattr(listener_module, "TURNS_SECONDS", 0.0)
            messages = waiting(listener, 3)
            checks = await listen_for_checks(web.Server(alive), "127.0.0.1", 0, 75)
            assert (await answer(checks.sockets[0].getsockname()[1], post(path=b"/livez")))[0] == 200
            assert asked == []
            monkeypatch.undo()
            assert await answers(messages) == [b"HTTP/1.1 200"] * 3
            checks.close()

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


def test_without_file_descriptors_the_end_is_reached_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: socket.socket) -> tuple[socket.socket, Any]:
        raise OSError(errno.EMFILE, "too many open files")

    async def serve() -> None:
        async with listening() as (listener, _):
            connections = waiting(listener, 2)
            monkeypatch.setattr(socket.socket, "accept", full)
            listener.close()
            monkeypatch.undo()
            assert b"HTTP" not in b"".join(await answers(connections))

    run_each(serve)


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "too many open files"), ValueError("nobody expects this")])
def test_a_connection_that_can_not_be_accepted_is_accepted_later(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept, errors = socket.socket.accept, list[Exception]()

    def crowded(queue: socket.socket) -> tuple[socket.socket, Any]:
        if errors:
            raise errors.pop()
        return accept(queue)

    monkeypatch.setattr(listener_module, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(socket.socket, "accept", crowded)

    async def serve() -> None:
        async with listening() as (listener, _):
            errors.append(error)
            assert await answers(waiting(listener, 2)) == [b"HTTP/1.1 200"] * 2
        assert not errors

    run_each(serve)
