"""Whatever is sent, the receiver answers with a documented status or hangs up, and lives on.

HOSTILE_REQUESTS sets how many requests are tried.
"""

import asyncio
import contextlib
import json
import os
import random
import resource
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.service.faults import Faults
from tests.service.harness import ACCOUNT, REGION, SECRET, Table
from tests.service.process import Process, receiver_process

REQUESTS = int(os.environ.get("HOSTILE_REQUESTS", "2000"))
DOCUMENTED = {
    "100",
    "200",
    "400",
    "401",
    "403",
    "404",
    "405",
    "408",
    "413",
    "414",
    "415",
    "417",
    "422",
    "429",
    "431",
    "503",
}

ARN = f"arn:aws:iot:{REGION}:{ACCOUNT}:ruledestination/http/1b3f2c1e".encode()

STRANGE_HEADERS = (
    b"Content-Encoding: gzip",
    b"Expect: 100-continue",
    b"Expect: 200-x",
    b"X-Forwarded-For: \xff",
    b"Accept: application/openmetrics-text;q=;;",
    b"Upgrade: websocket",
    b"Connection: upgrade",
    b"x-amz-rules-engine-message-type: DestinationConfirmation",
    b"no header",
    b"Transfer-Encoding: chunked",
    b"X: " * 3_000,
)


class Hostile:
    """Makes requests that no well-meaning sender makes; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - to be the same each time
        self.bodies: list[Callable[[], bytes]] = [
            lambda: self.random.randbytes(self.random.randrange(300)),
            lambda: b"[" * self.random.randrange(100_000),
            lambda: b'{"a":' * self.random.randrange(50_000),
            lambda: b" " * self.random.choice([0, 1, 524_288, 524_289, 600_000]),
            lambda: b'{"deviceId":"%b","temp":1}' % self.random.randbytes(40).replace(b'"', b""),
            lambda: b'{"deviceId":"d","temp":%b}' % self._number(),
            lambda: b'{"deviceId":"\\ud800\\udc00\\ud800","temp":1}',
            lambda: b'\xef\xbb\xbf{"deviceId":"d","temp":1}',
            lambda: json.dumps({"deviceId": "d", "temp": 1, "messageId": "\0#\n" * 30}).encode(),
            lambda: json.dumps([self._message() for _ in range(self.random.randrange(12))]).encode(),
            lambda: json.dumps([{"deviceId": "d", "temp": 1}] * self.random.choice([0, 1, 1_000, 1_001])).encode(),
        ]

    def _number(self) -> bytes:
        long = [b"1" * 5_000, b"0" * 5_000, b"1." + b"0" * 5_000, b"-" + b"9" * 400_000]
        return self.random.choice([b"NaN", b"Infinity", b"-", b"1e999", b"1e-9999999999999999", b"\xd9\xa1", *long])

    def _message(self) -> dict[str, object]:
        return {
            "deviceId": self.random.choice(["d", "", 5, None, "x" * 200, [], {}]),
            "temp": self.random.choice([1, "1", None, 1e308, True, [], {}]),
            "ts": self.random.choice([None, 1, "x", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", -1e300]),
            "iot_client_id": self.random.choice([None, "d", 5, ""]),
            "iot_received_at": self.random.choice([None, "x", 1, [], True]),
        }

    def _often(self, usual: bytes, *others: bytes) -> bytes:
        return usual if self.random.random() < 0.7 else self.random.choice(others)

    def request(self) -> bytes:
        """The bytes of one request."""
        body = self.random.choice(self.bodies)()
        path = self._often(b"/ingest", b"/ingest/", b"/", b"/metrics", b"/ingest//", b"/%00", b"*", b"/\xff", b"//h/")
        query = path + b"?%zz&confirmationToken=x"
        method = self._often(b"POST", b"GET", b"HEAD", b"TRACE", b"OPTIONS", b"CONNECT", b"\x00\xff")
        target = self._often(path, query, b"http://h/ingest", b"/" + b"a" * 9_000)
        version = self._often(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/x")
        content_type = self._often(b"application/json", b"text/plain", b"\xff", b";;=", b"application/json;charset")
        lines = [
            b"%b %b %b" % (method, target, version),
            b"Host: h",
            b"X-Iot-Secret: " + self._often(SECRET.encode(), b"", b"\xff\xfe", b"x" * 9_000),
            b"Content-Type: " + content_type,
        ]
        lines += (header for header in STRANGE_HEADERS if self.random.random() < 0.04)
        manner = self.random.random()
        if manner < 0.05:
            return self.random.choice(
                [self.random.randbytes(99), b"GET /livez\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
            )
        if manner < 0.15:
            lines.append(b"x-amz-rules-engine-message-type: DestinationConfirmation")
            body = self._often(
                body, b'{"arn":"%b","confirmationToken":"%b"}' % (ARN, self.random.randbytes(9).hex().encode())
            )
        if manner < 0.3:
            lines.append(b"Transfer-Encoding: chunked")
            body = self._chunked(body)
        else:
            length = b"%d" % len(body)
            lines.append(
                b"Content-Length: " + self._often(length, b"-1", b"9" * 30, b"x", b"%d" % (len(body) + 9), b"1")
            )
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def _chunked(self, body: bytes) -> bytes:
        """A body without a length: whole, without its end, or with a chunk that is none."""
        size = self.random.choice([1_000, 100_000])
        chunks = [body[start : start + size] for start in range(0, len(body), size)]
        end = self._often(b"0\r\n\r\n", b"", b"zz\r\n", b"-1\r\n", b"0\r\nX: y\r\n\r\n", b"f" * 40)
        return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + end

    async def send(self, process: Process, seen: Counter[str]) -> None:
        """Send one of them, some of them slowly or in part, and count what is answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(process.url.rsplit(":", 1)[1]))
        request = self.request()
        manner = self.random.random()
        try:
            if manner < 0.03:
                for start in range(0, 200, 20):
                    writer.write(request[start : start + 20])
                    await asyncio.sleep(0.01)
                request = request[200:]
            writer.write(request[: self.random.randrange(len(request) + 1)] if manner > 0.97 else request)
            line = await asyncio.wait_for(reader.readline(), 2)
            seen[line.split()[1].decode() if line.startswith(b"HTTP/1.") else "closed"] += 1
        except TimeoutError:
            seen["waits for more"] += 1
        except ConnectionError:
            seen["closed"] += 1
        finally:
            writer.transport.abort()


def resident(process: Process) -> int:
    """The process's memory, in MiB."""
    pages = Path(f"/proc/{process.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") // 1_048_576


def most_resident(process: Process) -> int:
    """The most memory that the process ever had, in MiB."""
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1_024


async def confirmed_once(process: Process) -> None:
    """Have the receiver make its client of IoT Core: its largest, made when it is first needed, and kept."""
    headers = {"x-amz-rules-engine-message-type": "DestinationConfirmation"}
    async with ClientSession(headers=headers) as session:
        body = {"arn": ARN.decode(), "confirmationToken": "first"}
        async with session.post(f"{process.url}/ingest/", json=body) as response:
            assert response.status in {403, 503}


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
async def test_hostile_requests(faults: Faults, secrets_dir: Path, table: Table, seed: int) -> None:
    hostile, seen = Hostile(seed), Counter[str]()
    async with receiver_process(secrets_dir, table.name, {}) as process:

        async def sender() -> None:
            for _ in range(REQUESTS // 2 // 2 // 20):
                with contextlib.suppress(ConnectionError):
                    await hostile.send(process, seen)

        await confirmed_once(process)
        before = resident(process)
        taken = []
        for _ in ("a half", "the other"):
            await asyncio.gather(*(sender() for _ in range(20)))
            assert process.process.returncode is None
            taken.append(resident(process) - before)
        assert taken[0] < 50
        assert taken[1] < taken[0] + 20  # caches fill, and that is all
        headers = {"X-Iot-Secret": SECRET}
        async with ClientSession(headers=headers) as session:
            message = {"deviceId": "survivor", "temp": 1}
            async with session.post(f"{process.url}/ingest", json=message) as response:
                assert response.status == 200
        said = Counter(seen)
        process.terminate()
        process.process.kill()
        logged = await process.process.stdout.read() if process.process.stdout else b""
    assert set(said) - {"closed", "waits for more"} <= DOCUMENTED, said
    assert said["200"] > 0
    assert said["422"] > 0
    assert SECRET.partition("-")[2].encode() not in logged
    assert b"request_failed" not in logged
    assert all(json.loads(line) for line in logged.splitlines())
    assert "survivor" in {device for device, _ in faults.rows}


@pytest.mark.parametrize(
    "headers",
    [
        f"X-Iot-Secret: {SECRET}\r\nContent-Length: 524288\r\n\r\n",
        f"X-Iot-Secret: {SECRET}\r\nTransfer-Encoding: chunked\r\n\r\n7f000\r\n",
        "x-amz-rules-engine-message-type: DestinationConfirmation\r\nTransfer-Encoding: chunked\r\n\r\n7f000\r\n",
        "Content-Length: 524288\r\n\r\n",
    ],
)
async def test_bodies_without_an_end_take_little_memory(
    faults: Faults, secrets_dir: Path, table: Table, headers: str
) -> None:
    async with receiver_process(secrets_dir, table.name, {}) as process:
        before = resident(process)
        writers = []
        for _ in range(250):
            _, writer = await asyncio.open_connection("127.0.0.1", int(process.url.rsplit(":", 1)[1]))
            writer.write(b"POST /ingest HTTP/1.1\r\nHost: h\r\n" + headers.encode() + b" " * 520_000)
            writers.append(writer)
        await asyncio.sleep(2)
        assert resident(process) < before + 80
        for writer in writers:
            writer.transport.abort()


async def test_bodies_that_wait_take_little_memory(faults: Faults, secrets_dir: Path, table: Table) -> None:
    """DynamoDB is slow, and thousands of whole bodies wait for it: some of readings, some of none."""
    faults.delay = 0.5
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    readings = b"[" + b",".join([b'{"deviceId":"d","temp":1,"x":"%b"}' % (b"y" * 970)] * 60) + b"]"
    nonsense = b"[" + b",".join([b'{"temp":"%b"}' % (b"y" * 190)] * 300) + b"]"
    statuses = Counter[bytes]()
    async with receiver_process(secrets_dir, table.name, {"RECEIVER_RULE_ADDS_METADATA": "false"}) as process:
        port = int(process.url.rsplit(":", 1)[1])

        async def send(body: bytes) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            head = f"POST /ingest HTTP/1.1\r\nHost: h\r\nX-Iot-Secret: {SECRET}\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            statuses[(await reader.readline()).split()[1]] += 1
            writer.transport.abort()

        await asyncio.gather(*(send(body) for body in [readings, nonsense] * min(1_700, most // 3)))
        assert most_resident(process) < 256
    assert set(statuses) <= {b"200", b"422", b"503"}
    assert statuses[b"503"]
