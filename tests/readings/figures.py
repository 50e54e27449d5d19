"""Measures the readings service against its limits: `make bench-readings`.

DynamoDB Local holds 1,000 devices with 1,000 rows each, and one with 100,000; the registry is a stand-in that lists
100,000 things. Figures are medians by the clock, so nothing else should load the machine; the service's own processor
time stands beside them. Takes about two minutes. Exits with 1 where a limit is not met.
"""

import asyncio
import json
import os
import re
import signal
import socket
import sqlite3
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import botocore.session
from aiohttp import ClientSession, ClientTimeout, web

from tests.readings.browser import PROGRAM, browser
from tests.readings.harness import iso
from tests.service.harness import REGION, create_table
from tests.support.dynamodb import dynamodb_local
from tests.support.paths import ROOT
from tests.support.ports import free_port

THINGS = [f"sensor-{number:06d}" for number in range(100_000)]
DEVICES, DENSE = THINGS[:1_000], "dense"
DAY_MS = 86_400_000
TABLE = "rows"
TICK = os.sysconf("SC_CLK_TCK")
END = int(time.time() * 1_000)
KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}


def item(device: str, number: int, rows: int) -> tuple[str, str]:
    """Sort key of one of a day's rows, and the row as DynamoDB Local keeps it."""
    at = iso(END - (rows - 1 - number) * DAY_MS // rows)
    key = f"{at}#m{number}"
    return key, (
        f'{{"deviceId":{{"S":"{device}"}},"Time":{{"S":"{key}"}},"temperature":{{"N":"{20 + number % 97 / 10:.1f}"}},'
        f'"received_at":{{"S":"{at}"}}}}'
    )


def fill(url: str, file: Path) -> None:
    """Make the table and its rows: the first row of each device by the API, the others beside them in the file.

    By the API alone it would take a quarter of an hour. What is written this way is read by the API afterwards.
    """
    client: Any = botocore.session.get_session().create_client(
        "dynamodb", REGION, endpoint_url=url, aws_access_key_id="k", aws_secret_access_key="s"
    )
    create_table(client, TABLE)
    sizes = {**dict.fromkeys(DEVICES, 1_000), DENSE: 100_000}
    for device, rows in sizes.items():
        key, _ = item(device, 0, rows)
        client.put_item(TableName=TABLE, Item={"deviceId": {"S": device}, "Time": {"S": key}})
    with closing(sqlite3.connect(file)) as database, database:
        hashes = dict(database.execute(f'SELECT hashKey, hashValue FROM "{TABLE}"'))  # noqa: S608 - our own name

        def written() -> Iterator[tuple[bytes, bytes, bytes, bytes, int, bytes]]:
            for device, count in sizes.items():
                name = device.encode()
                for number in range(count):
                    key, content = item(device, number, count)
                    yield name, key.encode(), hashes[name], os.urandom(20), len(content), content.encode()

        database.executemany(f'REPLACE INTO "{TABLE}" VALUES (?, ?, ?, ?, ?, ?)', written())  # noqa: S608
    found = client.query(TableName=TABLE, Select="COUNT", KeyConditionExpression="deviceId = :d",
                         ExpressionAttributeValues={":d": {"S": DEVICES[-1]}})["Count"]  # fmt: skip
    assert found == 1_000, found


async def things(request: web.Request) -> web.Response:
    """ListThings."""
    first = int(request.query.get("nextToken", 0))
    end = first + int(request.query["maxResults"])
    page = {"things": [{"thingName": name} for name in THINGS[first:end]]}
    return web.json_response(page | ({"nextToken": str(end)} if end < len(THINGS) else {}))


@asynccontextmanager
async def registry() -> AsyncIterator[str]:
    """Serves the registry of things; gives its address."""
    app = web.Application()
    app.router.add_get("/things", things)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await web.SockSite(runner, listening).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        await runner.cleanup()


class Service:
    """The service as it runs, in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.pid, self.url = process.pid, url

    def cpu(self) -> float:
        """Its processor time in seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self, name: str = "VmHWM") -> float:
        """The most that it ever took, or (VmRSS) what it takes, in MiB."""
        found = re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        assert found
        return int(found[1]) / 1_024


@asynccontextmanager
async def service(things_url: str, table_url: str) -> AsyncIterator[Service]:
    """Runs the service; its registry is read when this begins."""
    port = free_port()
    environment = os.environ | KEYS | {
        "AWS_REGION": REGION, "AWS_ENDPOINT_URL": things_url, "AWS_ENDPOINT_URL_DYNAMODB": table_url,
        "AWS_EC2_METADATA_DISABLED": "true", "READINGS_TABLE_NAME": TABLE, "READINGS_PORT": str(port),
        "READINGS_SWEEP_QUERIES_PER_SECOND": "1", "READINGS_LOG_LEVEL": "ERROR", "PYTHONPATH": str(ROOT / "service"),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "iot_readings", env=environment)
    try:
        made = Service(process, f"http://127.0.0.1:{port}")
        async with ClientSession() as session, asyncio.timeout(300):
            while True:
                await asyncio.sleep(0.5)
                try:
                    async with session.get(f"{made.url}/v1/devices?limit=1") as answer:
                        if (await answer.json()).get("complete"):
                            break
                except OSError:
                    continue  # it is still starting
        yield made
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def measured(found: Service, times: int, call: Callable[[], Awaitable[Any]]) -> tuple[float, float]:
    """Milliseconds of a call: the median by the clock, and the mean by the service's processor time."""
    await call()
    cpu, clocks = found.cpu(), []
    for _ in range(times):
        started = time.perf_counter()
        await call()
        clocks.append((time.perf_counter() - started) * 1_000)
    return statistics.median(clocks), (found.cpu() - cpu) * 1_000 / times


async def main(table_url: str) -> int:
    """Print the figures; 1 where a limit is not met."""
    failed = 0

    def report(name: str, value: float, limit: float, unit: str, cpu: float | None = None) -> None:
        nonlocal failed
        failed |= value > limit
        beside = "" if cpu is None else f"   processor {cpu:7.1f}"
        verdict = "   NOT MET" if value > limit else ""
        print(f"{name:52} {value:8.1f} {unit:3} of {limit:5.0f}{beside}{verdict}", flush=True)

    async with (
        registry() as things_url,
        service(things_url, table_url) as found,
        ClientSession(timeout=ClientTimeout(total=120)) as session,
    ):

        async def get(path: str, **parameters: str) -> bytes:
            async with session.get(f"{found.url}{path}", params=parameters) as answer:
                assert answer.status == 200, await answer.text()
                return await answer.read()

        following: dict[str, str] = {}

        async def page() -> None:
            """The next page: a device that was just looked at would not be looked at again."""
            answer = json.loads(await get("/v1/devices", order="name", limit="50", **following))
            assert answer["devices"][0]["last"]["values"]
            following["cursor"] = answer["next"]

        clock, cpu = await measured(found, 15, page)
        report("latest of a page of 50", clock, 100, "ms", cpu)
        span = {"from": str(END - DAY_MS), "to": str(END + 1), "step": "5m"}
        day = partial(get, f"/v1/devices/{DEVICES[5]}/readings", **span)
        assert sum(each["count"] for each in json.loads(await day())["buckets"]) == 1_000
        clock, cpu = await measured(found, 10, day)
        report("a day of one device downsampled, 1,000 rows", clock, 150, "ms", cpu)
        clock, cpu = await measured(found, 1, partial(get, f"/v1/devices/{DENSE}/readings", **span))
        print(f"{'the same with 100,000 rows':52} {clock:8.1f} ms            processor {cpu:7.1f}")
        before, rows = found.memory("VmRSS"), 0
        path = f"{found.url}/v1/devices/{DENSE}/readings?format=csv&limit=100000"
        async with session.get(path) as answer:
            async for part, _ in answer.content.iter_chunks():
                rows += part.count(b"\n")
        assert rows == 100_001, rows
        report("memory that a CSV of 100,000 rows adds", found.memory() - before, 64, "MiB")
        if PROGRAM is None:
            print("first paint was not measured: it takes chromium")
            return failed
        async with browser() as tab:
            await tab.open(f"{found.url}/")
            await tab.wait("document.querySelectorAll('.row').length > 5")
            paint = await tab.run("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            shown = await tab.run("performance.now()")
            report("first paint of the list of 100,000 things", paint, 1_000, "ms")
            print(f"{'rows on the page at the latest after':52} {shown:8.1f} ms")
    return failed


if __name__ == "__main__":
    with TemporaryDirectory(prefix="iot-readings-figures-") as data, dynamodb_local(Path(data)) as address:
        fill(address, Path(data) / "shared-local-instance.db")
        status = asyncio.run(main(address))
    sys.exit(status)
