"""Connections to a server: kept, given up, tunnelled, and read before they are called late."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from iot_receiver import connection as module
from iot_receiver.connection import Server

REQUEST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Amz-Crc32: 7\r\n\r\n{}"
SWITCHING = b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """A server that gives each request the next of its answers, the last one again and again; None: silence."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers) or [ANSWER]
        self.connections = 0
        self.requests = 0
        self.writers: list[asyncio.StreamWriter] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        while await reader.read(1_000):
            self.requests += 1
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is not None:
                writer.write(answer)
        writer.close()


@asynccontextmanager
async def listening(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve on a port of its own."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_a_connection_is_kept() -> None:
    peer = Peer()
    async with listening(peer) as port, Server(f"http://127.0.0.1:{port}/") as server:
        for _ in range(3):
            answer = await server.ask(REQUEST, 5, 5)
            assert (answer.status, answer.headers[b"x-amz-crc32"], answer.body) == (200, b"7", b"{}")
        assert peer.connections == 1
        await asyncio.gather(*(server.ask(REQUEST, 5, 5) for _ in range(4)))
        assert peer.connections == 4


def test_a_server_is_not_blamed_for_the_wait_of_this_process() -> None:
    """In the loop of production, on a processor that comes to an answer long after it has arrived."""
    received, answered = threading.Event(), threading.Event()

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1_000)
            received.set()
            time.sleep(0.3)
            connection.sendall(ANSWER)
            answered.set()
            connection.recv(1_000)

    async def ask(port: int) -> tuple[float, float]:
        async with Server(f"http://127.0.0.1:{port}/") as server:
            started = time.monotonic()
            asking = asyncio.create_task(server.ask(REQUEST, 5, 5))
            await asyncio.to_thread(received.wait)
            answered.wait()
            time.sleep(0.5)  # noqa: ASYNC251 - nothing is read meanwhile
            return (await asking).seconds, time.monotonic() - started

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as pool:
        serving = pool.submit(serve, listening)
        blamed, passed = uvloop.run(ask(listening.getsockname()[1]))
        serving.result()
    assert 0.2 < blamed < passed - 0.4


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", b"{}"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
    ],
)
async def test_any_framing_is_read(answer: bytes, body: bytes) -> None:
    peer = Peer(answer)
    async with listening(peer) as port, Server(f"http://127.0.0.1:{port}/") as server:
        for _ in range(2):
            assert (await server.ask(REQUEST, 5, 5)).body == body
        assert peer.connections == (2 if b"close" in answer or b"1.0" in answer else 1)


async def test_a_connection_that_the_server_closed_is_not_used_again() -> None:
    peer = Peer()
    async with listening(peer) as port, Server(f"http://127.0.0.1:{port}/") as server:
        await server.ask(REQUEST, 5, 5)
        peer.writers[0].close()
        await asyncio.sleep(0.05)
        assert (await server.ask(REQUEST, 5, 5)).status == 200
        assert peer.connections == 2


async def test_an_old_connection_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer()
    async with listening(peer) as port, Server(f"http://127.0.0.1:{port}/") as server:
        await server.ask(REQUEST, 5, 5)
        monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
        await server.ask(REQUEST, 5, 5)
        assert peer.connections == 2


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", SWITCHING, ANSWER * 2, None])
async def test_a_broken_answer_spoils_its_own_connection_only(answer: bytes | None) -> None:
    peer = Peer(answer, ANSWER)
    async with listening(peer) as port, Server(f"http://127.0.0.1:{port}/") as server:
        if answer in (ANSWER * 2, SWITCHING):  # what follows it answers nothing
            assert (await server.ask(REQUEST, 5, 5)).status in {200, 101}
        else:
            with pytest.raises(OSError):  # noqa: PT011 - any of them
                await server.ask(REQUEST, 5, 0.2)
        assert (await server.ask(REQUEST, 5, 5)).body == b"{}"
        assert peer.connections == 2


async def test_nobody_listens() -> None:
    async with listening(Peer()) as port:
        pass
    async with Server(f"http://127.0.0.1:{port}/") as server:
        with pytest.raises(ConnectionRefusedError):
            await server.ask(REQUEST, 5, 5)


async def test_an_answer_that_has_arrived_is_not_late() -> None:
    """The loop was busy with other things when it came."""
    peer = Peer(None)
    async with listening(peer) as port, Server(f"http://127.0.0.1:{port}/") as server:
        asking = asyncio.create_task(server.ask(REQUEST, 5, 0.3))
        while not peer.requests:  # noqa: ASYNC110 - it arrives over a socket
            await asyncio.sleep(0.01)
        peer.writers[0].write(ANSWER)
        time.sleep(0.5)  # noqa: ASYNC251 - that is the point
        assert (await asking).status == 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that is its own CA, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *form)
    )
    return path


def context(certificate: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    return made


class Proxy:
    """A proxy that opens tunnels, after a while, for whoever is `welcome`; `extra` is a header of its answer."""

    def __init__(self, delay: float = 0.0, welcome: bytes = b"", extra: bytes = b"") -> None:
        self.delay, self.welcome, self.extra, self.heads = delay, welcome, extra, list[bytes]()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        await asyncio.sleep(self.delay)
        if self.welcome not in head:
            writer.write(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
            return
        host, port = head.split()[1].decode().split(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n%b\r\n" % self.extra)
        await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(10_000):
        writer.write(data)
    writer.close()


async def test_a_server_is_who_its_certificate_says(certificate: Path) -> None:
    async with listening(Peer(), context(certificate)) as port:
        async with Server(f"https://localhost:{port}/", str(certificate)) as server:
            assert (await server.ask(REQUEST, 5, 5)).status == 200
        for url, bundle in ((f"https://localhost:{port}/", None), (f"https://127.0.0.1:{port}/", str(certificate))):
            async with Server(url, bundle) as server:
                with pytest.raises(ssl.SSLError):
                    await server.ask(REQUEST, 5, 5)


@pytest.mark.parametrize("extra", [b"", b"Content-Length: 0\r\n", b"Connection: close\r\n"])  # RFC 9110: to be ignored
async def test_the_way_leads_through_the_proxy(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, extra: bytes
) -> None:
    proxy, peer = Proxy(welcome=b"\r\nProxy-Authorization: Basic bWU6QDE=\r\n", extra=extra), Peer()
    async with listening(proxy) as proxy_port, listening(peer, context(certificate)) as port:
        url = f"https://localhost:{port}/"
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:%401@127.0.0.1:{proxy_port}")
        async with Server(url, str(certificate)) as server:
            for _ in range(2):
                assert (await server.ask(REQUEST, 5, 5)).body == b"{}"
        assert [head.split()[:2] for head in proxy.heads] == [[b"CONNECT", b"localhost:%d" % port]]
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy_port}")
        async with Server(url, str(certificate)) as server:
            with pytest.raises(ConnectionRefusedError, match="407"):
                await server.ask(REQUEST, 5, 5)
        monkeypatch.setenv("NO_PROXY", "localhost")
        async with Server(url, str(certificate)) as server:
            assert (await server.ask(REQUEST, 5, 5)).body == b"{}"
        assert len(proxy.heads) == 2


async def test_a_connection_that_took_too_long_serves_a_later_request(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, peer = Proxy(delay=0.3), Peer()
    async with listening(proxy) as proxy_port, listening(peer, context(certificate)) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy_port}")
        async with Server(f"https://localhost:{port}/", str(certificate)) as server:
            with pytest.raises(TimeoutError):
                await server.ask(REQUEST, 0.1, 5)
            while not peer.connections:  # noqa: ASYNC110 - it arrives over a socket
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert (await server.ask(REQUEST, 0.0, 5)).status == 200
        assert len(proxy.heads) == 1
