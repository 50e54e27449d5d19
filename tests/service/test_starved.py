"""A receiver on a tenth of a core: it starts, and under more than it can do it does what it can."""

import asyncio
import json
import signal
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from tests.service.harness import SECRET
from tests.service.process import Process, ready, receiver_process, starting
from tests.support.certificates import make_certificate
from tests.support.ports import free_port

HEADERS = {"X-Iot-Secret": SECRET, "Content-Type": "application/json"}
ARRAY = json.dumps([{"deviceId": "d", "temp": number, "messageId": f"m{number}"} for number in range(30)])


class DynamoDB:
    """Takes everything; counts connections."""

    def __init__(self) -> None:
        self.connections = self.calls = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().split(b"content-length:")[1].split()[0]))
                self.calls += 1
                writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n{"UnprocessedItems":{}}\n')


@asynccontextmanager
async def starved(process: asyncio.subprocess.Process) -> AsyncIterator[None]:
    """Let the process have a tenth of a core, as a control group's quota does: 5 ms of each 50."""
    clock = ~process.pid << 3 | 2  # all its threads': CPUCLOCK_SCHED of linux/include/linux/posix-timers.h

    async def ration() -> None:
        while process.returncode is None:
            used, began = time.clock_gettime(clock), time.monotonic()
            while time.clock_gettime(clock) - used < 0.005 and time.monotonic() - began < 0.05:  # noqa: ASYNC110 - a clock
                await asyncio.sleep(0.001)
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(0.045)
            process.send_signal(signal.SIGCONT)

    task = asyncio.create_task(ration())
    try:
        yield
    finally:
        task.cancel()
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)


async def test_a_starved_node_gets_through(
    aws: None, secrets_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its first import to rows, with TLS to DynamoDB, on a tenth of a core."""
    certificate = make_certificate(tmp_path, "dynamodb", "-addext", "subjectAltName=IP:127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    port, dynamodb, statuses = free_port(), DynamoDB(), []
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"https://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    async with (
        await asyncio.start_server(dynamodb, "127.0.0.1", port, ssl=context),
        starting(secrets_dir, "telemetry", {}) as receiver,
        starved(receiver.process),
        ClientSession(headers=HEADERS) as session,
    ):
        await ready(receiver, 180)
        for number in range(20):
            body = json.dumps({"deviceId": "d", "temp": number})
            for _ in range(3):  # as IoT Core
                async with session.post(f"{receiver.url}/ingest", data=body) as response:
                    statuses.append(response.status)
                if response.status == 200:
                    break
    assert statuses.count(200) == 20, statuses
    assert dynamodb.connections <= 3, "a connection that took long was kept"


class Senders:
    """Publishes of thirty readings, each tried up to three times in three seconds, over kept connections."""

    def __init__(self, receiver: Process, session: ClientSession) -> None:
        self.url, self.session = receiver.url, session

    async def stored(self) -> bool:
        """Whether one publish is answered with 200."""
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                for _ in range(3):
                    with suppress(ClientError):
                        async with self.session.post(f"{self.url}/ingest", data=ARRAY) as response:
                            if response.status == 200:
                                return True
                    await asyncio.sleep(0.1)
        return False

    async def most(self, seconds: float) -> float:
        """Publishes a second when each of some senders waits for its answer."""
        until = time.monotonic() + seconds

        async def one() -> int:
            count = 0
            while time.monotonic() < until:
                count += await self.stored()
            return count

        return sum(await asyncio.gather(*(one() for _ in range(32)))) / seconds

    async def at(self, rate: float, seconds: float) -> list[bool]:
        """Whether each was stored, of so many a second that wait for no answer."""
        tasks, began = [], time.monotonic()
        for number in range(int(rate * seconds)):
            tasks.append(asyncio.create_task(self.stored()))
            await asyncio.sleep(began + (number + 1) / rate - time.monotonic())
        return await asyncio.gather(*tasks)

    async def checks(self, port: int, seconds: float) -> list[int]:
        """Statuses of health checks, each over a connection of its own, as the kubelet's; 0: none in two seconds."""
        statuses = []
        async with ClientSession(timeout=ClientTimeout(2), connector=TCPConnector(force_close=True)) as session:
            for _ in range(int(2 * seconds)):
                try:
                    async with session.get(f"http://127.0.0.1:{port}/livez") as response:
                        statuses.append(response.status)
                except (ClientError, TimeoutError):
                    statuses.append(0)
                await asyncio.sleep(0.5)
        return statuses


@pytest.mark.long
async def test_overload_of_a_starved_processor_does_not_outlast_itself(
    aws: None, secrets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part that is answered is far below what is measured on an idle machine: others take from this one, too."""
    port, health_port = free_port(), free_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{port}")
    async with (
        await asyncio.start_server(DynamoDB(), "127.0.0.1", port),
        receiver_process(secrets_dir, "telemetry", {"RECEIVER_HEALTH_PORT": str(health_port)}) as receiver,
        starved(receiver.process),
        ClientSession(headers=HEADERS, connector=TCPConnector(limit=0)) as session,
    ):
        senders = Senders(receiver, session)
        capacity = await senders.most(3)
        overload, checks = await asyncio.gather(senders.at(2 * capacity, 5), senders.checks(health_port, 5))
        calm = await senders.at(0.3 * capacity, 4)
    assert sum(overload) > 0.4 * capacity * 5
    assert checks.count(200) >= len(checks) - 1  # the kubelet restarts what fails three
    late = calm[len(calm) // 2 :]
    assert late.count(False) <= max(2, 0.1 * len(late))
