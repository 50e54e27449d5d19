"""HTTP/1.1 to one server, for one small request over and over, at a quarter of what a general client costs.

And an answer counts as late only if its bytes have not arrived: on a processor that others starve the event loop may
come to the clock before it comes to the socket, and whoever gave up then would give up every time.
"""

import asyncio
import ssl
from base64 import b64encode
from types import TracebackType
from typing import NamedTuple, cast
from urllib.parse import unquote, urlsplit

from botocore.httpsession import get_cert_path
from botocore.utils import get_environ_proxies
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from iot_receiver.sockets import answered_within

OPENING_SECONDS = 2.0  # a connection that is opened for longer than its first request waits serves a later one
IDLE_SECONDS = 12.0  # as aiobotocore; the network may have forgotten an older one without a word
POLL_SECONDS = 0.001  # from one look at the sockets to the next


class Answer(NamedTuple):
    """A server's answer.

    Attributes:
        headers: by their names in lower case.
        seconds: what the server and the network took, without the wait for this process.
    """

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    seconds: float


class Connection(asyncio.Protocol):
    """A connection, for one request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        self._tunnelling = False
        self._transport: asyncio.Transport  # from connection_made, which comes before all else
        self._waiting: asyncio.Future[Answer] | None = None
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._used = self._loop.time()

    @property
    def usable(self) -> bool:
        """Whether another request may be sent."""
        return not self._transport.is_closing() and self._loop.time() - self._used < IDLE_SECONDS

    async def ask(self, request: bytes, timeout: float) -> Answer:  # noqa: ASYNC109 - see above: asyncio's would be too early
        """Send a request and await its answer.

        Raises:
            OSError: when there is none within `timeout` seconds; the connection is closed then.
        """
        self._headers, self._body = {}, []
        waiting: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting = waiting
        timer = self._loop.call_later(timeout, self._look_once_more, waiting)
        self._transport.write(request)
        try:
            return await waiting
        except BaseException:
            self.close()
            raise
        finally:
            timer.cancel()
            self._waiting = None
            self._used = self._loop.time()

    async def tunnel(self, host: str, port: int, login: str | None, context: ssl.SSLContext) -> None:
        """From a connection to a proxy, make one to a server behind it (RFC 9110, 9.3.6).

        Raises:
            OSError: when the proxy refuses, or the server can't be trusted.
        """
        target = f"{host}:{port}"
        proof = f"Proxy-Authorization: Basic {b64encode(login.encode()).decode()}\r\n" if login else ""
        self._tunnelling = True
        answer = await self.ask(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{proof}\r\n".encode(), OPENING_SECONDS)
        if not 200 <= answer.status < 300:
            self.close()
            raise ConnectionRefusedError(f"the proxy answers {answer.status}")
        self._tunnelling, self._parser = False, HttpResponseParser(self)
        transport = await self._loop.start_tls(self._transport, self, context, server_hostname=host)
        self._transport = cast(asyncio.Transport, transport)

    def close(self) -> None:
        """Close it at once."""
        self._transport.abort()

    def _look_once_more(self, waiting: "asyncio.Future[Answer]") -> None:
        self._loop.call_later(POLL_SECONDS, self._fail, TimeoutError("no answer in time"), waiting)

    def _fail(self, error: OSError, waiting: "asyncio.Future[Answer] | None") -> None:
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport (asyncio.Protocol)."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what is under way (asyncio.Protocol)."""
        self._fail(exc if isinstance(exc, OSError) else ConnectionResetError("closed by the server"), self._waiting)

    def data_received(self, data: bytes) -> None:
        """Read a piece of the answer (asyncio.Protocol)."""
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self._fail(ConnectionAbortedError("the answer is not HTTP"), self._waiting)
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header (httptools)."""
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body (httptools)."""
        self._body.append(body)

    def on_headers_complete(self) -> None:
        """Give a proxy's answer (httptools): what follows it is the tunnel."""
        if self._tunnelling:
            self._give()

    def on_message_complete(self) -> None:
        """Give the answer (httptools)."""
        if not self._tunnelling and not (self._give() and self._parser.should_keep_alive()):
            self.close()

    def _give(self) -> bool:
        """Give what has been read to whoever waits for it; False when nobody does."""
        if self._waiting is None or self._waiting.done():
            return False
        seconds = answered_within(self._transport.get_extra_info("socket"))
        self._waiting.set_result(Answer(self._parser.get_status_code(), self._headers, b"".join(self._body), seconds))
        return True


class Server:
    """Keeps connections to a server; use within `async with`."""

    def __init__(self, url: str, ca_bundle: str | None = None) -> None:
        parts = urlsplit(url)
        self._host, self._secure = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._secure else 80)
        # whatever botocore's clients would go through; Settings has checked its form
        self._proxy = urlsplit(get_environ_proxies(url).get("https", "")) if self._secure else None
        self._ca_bundle = ca_bundle
        self._context: ssl.SSLContext | None = None
        self._idle: list[Connection] = []
        self._opening: set[asyncio.Task[Connection]] = set()

    async def __aenter__(self) -> "Server":
        if self._secure:
            cafile = get_cert_path(self._ca_bundle or True)
            self._context = await asyncio.to_thread(ssl.create_default_context, cafile=cafile)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._opening:
            task.cancel()
        for connection in self._idle:
            connection.close()

    async def ask(self, request: bytes, connect_timeout: float, timeout: float) -> Answer:  # noqa: ASYNC109
        """Send a request, over a connection that is idle or a new one.

        Args:
            connect_timeout, timeout: seconds, for a new connection and for all of it.

        Raises:
            OSError: when there is no answer in time.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        connection = self._reusable() or await self._opened(min(connect_timeout, timeout))
        answer = await connection.ask(request, max(0.0, until - loop.time()))
        self._idle.append(connection)
        return answer

    def _reusable(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()  # the last one used: the others may end
            if connection.usable:
                return connection
            connection.close()
        return None

    async def _opened(self, seconds: float) -> Connection:
        task = asyncio.create_task(self._open())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if done:
            return task.result()
        task.add_done_callback(self._keep)
        raise TimeoutError("no connection in time")

    def _keep(self, task: "asyncio.Task[Connection]") -> None:
        if not task.cancelled() and task.exception() is None:
            self._idle.append(task.result())

    async def _open(self) -> Connection:
        loop, proxy = asyncio.get_running_loop(), self._proxy
        async with asyncio.timeout(OPENING_SECONDS):
            if not proxy or not proxy.hostname or not self._context:
                return (await loop.create_connection(Connection, self._host, self._port, ssl=self._context))[1]
            _, connection = await loop.create_connection(Connection, proxy.hostname, proxy.port or 80)
            login = f"{unquote(proxy.username or '')}:{unquote(proxy.password or '')}" if proxy.username else None
            await connection.tunnel(self._host, self._port, login, self._context)
            return connection
