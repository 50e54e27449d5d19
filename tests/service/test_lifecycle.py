"""Start, readiness, and a stop that cuts nobody off."""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector
from iot_receiver import app as app_module
from iot_receiver import keys

from tests.service.faults import Faults
from tests.service.harness import ACCOUNT, SECRET, Make, Receiver, Table
from tests.service.process import SERVICE, Process, receiver_process
from tests.service.test_starved import DynamoDB
from tests.support.ports import free_port


async def test_ready_and_alive(receiver: Receiver) -> None:
    for path in ("/readyz", "/livez"):
        assert (await receiver.client.get(path)).status == 200
    receiver.app[keys.LIFECYCLE].stop()
    assert (await receiver.client.get("/readyz")).status == 503
    assert (await receiver.client.get("/livez")).status == 200
    assert (await receiver.client.get("/metrics")).status == 200
    assert (await receiver.send({"deviceId": "d", "temp": 1})).status == 200


async def test_not_ready_without_credentials(deadline: float, receiver: Receiver) -> None:
    receiver.app[keys.CREDENTIALS].current = None
    response = await receiver.client.get("/readyz")
    assert response.status == 503
    assert "credentials" in await response.text()
    assert (await receiver.send({"deviceId": "d", "temp": 1})).status == 503


async def test_ready_once_dynamodb_has_answered(make_receiver: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    port, dynamodb = free_port(), DynamoDB()
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(app_module, "REACH_SECONDS", 0.1)
    receiver = await make_receiver()
    response = await receiver.client.get("/readyz")
    assert (response.status, "DynamoDB has not answered yet" in await response.text()) == (503, True)
    async with await asyncio.start_server(dynamodb, "127.0.0.1", port):
        while (await receiver.client.get("/readyz")).status != 200:  # noqa: ASYNC110 - it tries again by itself
            await asyncio.sleep(0.05)
        assert (dynamodb.connections, dynamodb.calls) == (1, 1)
        assert (await receiver.send({"deviceId": "d", "temp": 1})).status == 200
        assert (dynamodb.connections, dynamodb.calls) == (1, 2)  # the first message finds all that it needs


def handles_sigterm(pid: int) -> bool:
    """Whether the process, rather than the kernel, decides what SIGTERM does."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.long
@pytest.mark.parametrize("arguments", [(), ("redrive",)])
async def test_sigterm_at_any_instant_of_the_start_ends_it(
    aws: None, secrets_dir: Path, arguments: tuple[str, ...]
) -> None:
    """As a container's first process, for which a signal without a handler is no signal."""

    async def silent(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async def ended(environment: dict[str, str], delay: float) -> tuple[int | None, bytes]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "iot_receiver", *arguments),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
        )
        while not handles_sigterm(process.pid):  # noqa: ASYNC110 - Python itself takes some 20 ms
            await asyncio.sleep(0.001)
        await asyncio.sleep(delay)
        process.terminate()
        try:
            said, _ = await asyncio.wait_for(process.communicate(), 60)
        except TimeoutError:
            process.kill()
            raise
        return process.returncode, said

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        environment = {
            **os.environ,
            "PYTHONPATH": SERVICE,
            "AWS_ENDPOINT_URL": url,
            "AWS_ENDPOINT_URL_DYNAMODB": url,
            "RECEIVER_AWS_ACCOUNT_ID": ACCOUNT,
            "RECEIVER_TABLE_NAME": "telemetry",
            "RECEIVER_SECRETS_DIR": str(secrets_dir),
            "RECEIVER_RULE_DEAD_LETTER_QUEUE_URL": f"{url}/queue",
            "RECEIVER_HOST": "127.0.0.1",
            "RECEIVER_DEREGISTRATION_DELAY_SECONDS": "0",
        }
        for delays in ((0.0, 0.02, 0.1), (0.2, 0.4, 0.6), (0.8, 1.2, 1.6), (2.0, 3.0, 5.0)):
            outcomes = await asyncio.gather(
                *(ended({**environment, "RECEIVER_PORT": str(free_port())}, delay) for delay in delays)
            )
            assert {status for status, _ in outcomes} <= ({0, 1} if arguments else {0})
            if delays[0] == 0.0:
                assert outcomes[0][1] == b""  # it had not come to its first line


async def test_a_process_that_can_not_start_says_why(tmp_path: Path) -> None:
    async def start(environment: dict[str, str]) -> tuple[int | None, str]:
        environment["PYTHONPATH"] = SERVICE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "iot_receiver", env=environment, stderr=asyncio.subprocess.PIPE
        )
        _, stderr = await process.communicate()
        return process.returncode, stderr.decode()

    code, said = await start({})
    assert code == 2
    assert "RECEIVER_TABLE_NAME is not set" in said
    assert "AWS_REGION is not set" in said
    environment = {
        "AWS_REGION": "us-east-2",
        "RECEIVER_AWS_ACCOUNT_ID": "123456789012",
        "RECEIVER_TABLE_NAME": "telemetry",
        "RECEIVER_SECRETS_DIR": str(tmp_path),
    }
    code, said = await start(environment)
    assert code == 2
    assert "holds no secret" in said
    (tmp_path / "current").write_text("secret")
    environment |= {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "RECEIVER_HOST": "127.0.0.1"}
    environment["AWS_ENDPOINT_URL_DYNAMODB"] = "http://127.0.0.1:9"
    for taken in ("RECEIVER_PORT", "RECEIVER_HEALTH_PORT"):
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
            port = str(server.sockets[0].getsockname()[1])
            code, said = await start({**environment, "RECEIVER_PORT": str(free_port()), taken: port})
        assert code == 2
        assert "have to name free ports of this host: [Errno 98]" in said
        assert "Traceback" not in said


class Load:
    """Clients that send for as long as the receiver lets them, each over a connection of its own."""

    def __init__(self, target: Process) -> None:
        self.target = target
        self.accepted: set[str] = set()
        self.errors: list[str] = []
        self.sent = 0

    async def client(self, number: int) -> None:
        headers = {"X-Iot-Secret": SECRET, "Content-Type": "application/json"}
        async with ClientSession(connector=TCPConnector(limit=1), headers=headers) as session:
            for count in range(1_000_000):
                device = f"d{number}-{count}"
                body = json.dumps({"deviceId": device, "temp": count, "messageId": "m"})
                self.sent += 1
                try:
                    async with session.post(f"{self.target.url}/ingest", data=body) as response:
                        await response.read()
                        if response.status == 200:
                            self.accepted.add(device)
                        elif response.status != 503:  # a machine too busy for the deadline is no fault here
                            self.errors.append(f"{response.status}")
                        if response.headers.get("Connection") == "close":
                            return  # the connection ends: a load balancer would send nothing more here
                except OSError as error:
                    self.errors.append(repr(error))
                    return


@pytest.mark.parametrize("delay", ["0", "1.5"])
async def test_sigterm_under_load_cuts_nobody_off(faults: Faults, secrets_dir: Path, table: Table, delay: str) -> None:
    faults.delay = 0.01
    settings = {"RECEIVER_DEREGISTRATION_DELAY_SECONDS": delay}
    async with receiver_process(secrets_dir, table.name, settings) as process:
        load = Load(process)
        clients = [asyncio.create_task(load.client(number)) for number in range(30)]
        await asyncio.sleep(1.5)
        before = load.sent
        process.terminate()
        terminated = time.monotonic()
        if float(delay):
            await asyncio.sleep(0.3)
            async with ClientSession() as session, session.get(f"{process.url}/readyz") as response:
                assert response.status == 503
        await asyncio.wait_for(asyncio.gather(*clients), 20)
        assert await asyncio.wait_for(process.process.wait(), 20) == 0
        took = time.monotonic() - terminated
    assert load.errors == []
    assert load.sent >= before > 100
    assert took >= float(delay)
    assert took < float(delay) + 6
    assert load.accepted == {device for device, _ in faults.rows}


async def test_requests_under_way_at_the_end_are_answered(faults: Faults, secrets_dir: Path, table: Table) -> None:
    faults.delay = 0.35
    settings = {"RECEIVER_DEREGISTRATION_DELAY_SECONDS": "0"}
    async with receiver_process(secrets_dir, table.name, settings) as process:
        load = Load(process)
        clients = [asyncio.create_task(load.client(number)) for number in range(20)]
        while not faults.calls:  # noqa: ASYNC110 - the call arrives over HTTP
            await asyncio.sleep(0.01)
        process.terminate()
        await asyncio.wait_for(asyncio.gather(*clients), 20)
        assert await asyncio.wait_for(process.process.wait(), 20) == 0
        said = await process.process.stdout.read() if process.process.stdout else b""
    assert load.errors == []
    assert len(load.accepted) >= 20
    assert json.loads(said.splitlines()[-1])["event"] == "stopped"


async def test_two_pods_never_write_the_same_receipt_time_key(faults: Faults, secrets_dir: Path, table: Table) -> None:
    """RECEIPT_ROWS sets how many rows of one device are tried."""
    rows = int(os.environ.get("RECEIPT_ROWS", "20000"))
    settings = {"RECEIVER_TABLE_SCHEMA": "receipt_time", "RECEIVER_RULE_ADDS_METADATA": "false"}
    stored: set[str] = set()

    async def send(session: ClientSession, url: str, start: int) -> None:
        numbers = range(start, start + 1_000)
        body = json.dumps([{"deviceId": "d", "temp": number} for number in numbers])
        for _ in range(100):  # a busy machine answers 503 now and then
            async with session.post(f"{url}/ingest", data=body) as response:
                if response.status == 200:
                    stored.update(map(str, numbers))
                    return

    headers = {"X-Iot-Secret": SECRET, "Content-Type": "application/json"}
    async with (
        receiver_process(secrets_dir, table.name, settings) as one,
        receiver_process(secrets_dir, table.name, settings) as two,
        ClientSession(headers=headers) as session,
    ):
        for start in range(0, rows, 2_000):
            await asyncio.gather(send(session, one.url, start), send(session, two.url, start + 1_000))
    assert len(stored) == rows
    assert stored <= {row["temperature"]["N"] for row in faults.rows.values()}
