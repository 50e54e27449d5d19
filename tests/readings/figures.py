"""Measures the readings service against its limits: 1,000 rows of each device, and 100,000 things in the registry.

    build/venv/service-test/bin/python -m tests.readings.figures

Table and registry are stood in for by a server that makes rows up by their number, so that what is measured is the
service. It takes about two minutes. The processor time of the service counts, which other load on the machine changes
little; the time by the clock is printed beside it. Exits with 1 where a limit is not met.
"""

import asyncio
import os
import re
import signal
import socket
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web

from tests.readings.browser import PROGRAM, browser
from tests.support.paths import ROOT
from tests.support.ports import free_port

THINGS = [f"sensor-{number:06d}" for number in range(100_000)]
DENSE = THINGS[0]  # has 100,000 rows; each of the others has 1,000, in a day
TICK = os.sysconf("SC_CLK_TCK")
END = int(time.time() * 1_000)


def iso(ms: int) -> str:
    """Milliseconds since 1970, as the receiver writes them."""
    return datetime.fromtimestamp(ms / 1_000, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def keys(rows: int) -> list[str]:
    """Sort keys of a day, oldest first."""
    return [f"{iso(END - (rows - 1 - number) * 86_400_000 // rows)}#m{number}" for number in range(rows)]


DAY, DENSE_DAY = keys(1_000), keys(100_000)


async def things(request: web.Request) -> web.Response:
    """ListThings."""
    first = int(request.query.get("nextToken", 0))
    end = first + int(request.query["maxResults"])
    page = {"things": [{"thingName": name} for name in THINGS[first:end]]}
    return web.json_response(page | ({"nextToken": str(end)} if end < len(THINGS) else {}))


async def query(request: web.Request) -> web.Response:
    """DynamoDB's Query, newest first or oldest first."""
    asked = await request.json()
    values = {name: value["S"] for name, value in asked["ExpressionAttributeValues"].items()}
    rows = DENSE_DAY if values[":d"] == DENSE else DAY
    first, end = bisect_left(rows, values[":l"]), bisect_right(rows, values[":u"])
    after = asked.get("ExclusiveStartKey", {}).get("Time", {}).get("S")
    if asked["ScanIndexForward"]:
        found = range(first if after is None else bisect_right(rows, after), end)
    else:
        found = range((end if after is None else bisect_left(rows, after)) - 1, first - 1, -1)
    page = found[: asked["Limit"]]
    items = [
        {"deviceId": {"S": values[":d"]}, "Time": {"S": rows[at]}, "temperature": {"N": str(20 + at % 97 / 10)},
         "received_at": {"S": rows[at][:24]}}
        for at in page
    ]  # fmt: skip
    answer: dict[str, Any] = {"Items": items, "ConsumedCapacity": {"CapacityUnits": 0.5}}
    if len(page) < len(found):
        answer["LastEvaluatedKey"] = {"deviceId": {"S": values[":d"]}, "Time": {"S": rows[page[-1]]}}
    return web.json_response(answer, content_type="application/x-amz-json-1.0")


@asynccontextmanager
async def stand_in() -> AsyncIterator[str]:
    """Serves both; gives its address."""
    app = web.Application()
    app.router.add_get("/things", things)
    app.router.add_post("/", query)
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
async def service(stand: str) -> AsyncIterator[Service]:
    """Runs the service; its registry is read when this begins."""
    port = free_port()
    environment = os.environ | {
        "AWS_REGION": "us-east-2", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_ENDPOINT_URL": stand,
        "AWS_EC2_METADATA_DISABLED": "true", "READINGS_TABLE_NAME": "rows", "READINGS_PORT": str(port),
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
    """Milliseconds of one call, by the processor and by the clock."""
    await call()
    cpu, clock = found.cpu(), time.perf_counter()
    for _ in range(times):
        await call()
    return (found.cpu() - cpu) * 1_000 / times, (time.perf_counter() - clock) * 1_000 / times


async def main() -> int:
    """Print the figures; 1 where a limit is not met."""
    failed = 0

    def report(name: str, value: float, limit: float, unit: str, clock: float | None = None) -> None:
        nonlocal failed
        failed |= value > limit
        beside = "" if clock is None else f"   by the clock {clock:8.1f}"
        verdict = "   NOT MET" if value > limit else ""
        print(f"{name:52} {value:8.1f} {unit:3} of {limit:5.0f}{beside}{verdict}", flush=True)

    async with stand_in() as stand, service(stand) as found, ClientSession(timeout=ClientTimeout(total=120)) as session:

        async def get(path: str, **parameters: str) -> int:
            async with session.get(f"{found.url}{path}", params=parameters) as answer:
                assert answer.status == 200, await answer.text()
                return sum([len(part) async for part, _ in answer.content.iter_chunks()])

        pages = iter(range(1, 1_000))  # others each time: a device that was just looked at is not looked at again

        async def page() -> None:
            await get("/v1/devices", order="name", limit="50", search=f"sensor-{next(pages):04d}")

        cpu, clock = await measured(found, 20, page)
        report("latest of a page of 50", cpu, 100, "ms", clock)
        for rows, device in ((1_000, THINGS[5]), (100_000, DENSE)):
            span = {"from": str(END - 86_400_000), "to": str(END + 1), "step": "5m"}
            times = 10 if rows == 1_000 else 3
            cpu, clock = await measured(found, times, partial(get, f"/v1/devices/{device}/readings", **span))
            if rows == 1_000:
                report("a day of one device downsampled, 1,000 rows", cpu, 150, "ms", clock)
            else:
                print(f"{'the same with 100,000 rows':52} {cpu:8.1f} ms           by the clock {clock:8.1f}")
        before = found.memory("VmRSS")
        length = await get(f"/v1/devices/{DENSE}/readings", format="csv", limit="100000")
        assert length > 5_000_000, length
        report("memory that a CSV of 100,000 rows adds", found.memory() - before, 64, "MiB")
        if PROGRAM is not None:
            async with browser() as tab:
                await tab.open(f"{found.url}/")
                await tab.wait("document.querySelectorAll('.row').length > 5")
                paint = await tab.run("performance.getEntriesByName('first-contentful-paint')[0].startTime")
                rows = await tab.run("performance.now()")
                report("first paint of the list of 100,000 things", paint, 1_000, "ms")
                print(f"{'rows on the page at the latest after':52} {rows:8.1f} ms")
    return failed


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
