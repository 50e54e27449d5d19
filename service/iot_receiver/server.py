"""The HTTP server: aiohttp's, with bounds on what a connection may hold and errors as problem+json."""

import asyncio
import math
import socket
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from logging import Logger
from typing import Any, cast

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http_exceptions import LineTooLong

from iot_receiver.listener import Listener, Queues
from iot_receiver.logs import fault
from iot_receiver.problems import problem
from iot_receiver.sockets import age

BANNER = "iot-receiver"  # aiohttp's own names the versions of Python and aiohttp
URL_BYTES = 8_190
# Headers of a request that is sent slowly, or never completed, stay in memory until the connection is closed:
# strangers can make us hold these bounds times the connections.
HEADER_BYTES = 4_096
HEADERS = 128  # IoT Core sends up to 100 of a rule, the load balancer some of its own
# Before any handler runs, the loop reads from every socket that has something: of each at most these two.
READ_AHEAD = 4_096  # half of what aiohttp buffers of a body that nobody reads yet
SOCKET_BYTES = 12_288  # what the kernel buffers


class Protocol(web.RequestHandler):
    """aiohttp's protocol; its errors are answered as any other error, without the sender's bytes."""

    __slots__ = ("connection",)

    def __init__(self, manager: web.Server, connection: socket.socket | None, **options: Any) -> None:
        super().__init__(manager, **options)
        self.connection = connection  # uvloop's own stand-in for it makes a new one for each call

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer a request that is not HTTP, or whose handler failed."""
        del message  # holds what was sent
        if request.writer.output_size:
            raise ConnectionError("part of the response was already sent")
        if isinstance(exc, LineTooLong):
            status = 414 if exc.args[1] == URL_BYTES else 431
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(exc, ConnectionError):
            fault("handler_failed", "a request could not be handled", error=exc)
        response = problem(status, _DETAILS.get(status, "the request could not be handled"))
        response.headers[hdrs.SERVER] = BANNER
        response.force_close()
        return response


_DETAILS = {
    400: "this is no valid HTTP request",
    414: f"a URL has at most {URL_BYTES} bytes",
    431: f"a header has at most {HEADER_BYTES} bytes",
}


def listen(server: web.Server, host: str, port: int, keepalive: float) -> Listener:
    """Accept connections for an application's server."""
    return Listener(Queues(host, port, SOCKET_BYTES), _protocol(server, keepalive))


async def listen_for_checks(server: web.Server, host: str, port: int, keepalive: float) -> asyncio.Server:
    """Accept connections that never wait among those of messages."""
    return await asyncio.get_running_loop().create_server(partial(_protocol(server, keepalive), None), host, port)


def _protocol(server: web.Server, keepalive: float) -> Callable[[socket.socket | None], Protocol]:
    return partial(
        Protocol,
        server,
        loop=asyncio.get_running_loop(),
        access_log=cast(Logger, None),  # costs as much as the handler; None is what switches it off
        keepalive_timeout=keepalive,
        auto_decompress=False,  # encoded bodies are refused, so none is unpacked
        max_line_size=URL_BYTES,
        max_field_size=HEADER_BYTES,
        max_headers=HEADERS,
        read_bufsize=READ_AHEAD,
    )


def waited(request: web.BaseRequest) -> float:
    """Seconds since the last bytes of a request arrived; infinite when its sender has given up."""
    if request.transport is None:
        return math.inf
    connection = request.protocol.connection if isinstance(request.protocol, Protocol) else None
    return age(connection or request.transport.get_extra_info("socket"))


async def expected(request: web.Request) -> web.Response | None:
    """Answer the header Expect; None lets the handler go on (RFC 9110, 10.1.1)."""
    if request.version < HttpVersion11:
        return None
    if request.headers[hdrs.EXPECT].lower() != "100-continue":
        return problem(417, "nothing but 100-continue can be expected here")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # this was not the answer yet
    return None
