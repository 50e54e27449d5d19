"""PromQL by a real Prometheus, which the sandbox's build makes: a day of a device is what the API says of it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.readings.harness import Readings, ledger, now, store
from tests.service.harness import Table
from tests.support.paths import CACHE

PROGRAM = CACHE / "bin/monitoring/prometheus"
pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="prometheus is not built: make sandbox builds it")
DAY = 86_400_000
METRIC = "iot_reading_temperature"
Ask = Callable[[str, float], Awaitable[list[dict[str, Any]]]]


@pytest.fixture
async def ask(readings: Readings, tmp_path: Path) -> AsyncIterator[Ask]:
    """Asks a Prometheus that reads from the service alone: what a query gives at a time in milliseconds."""
    url = str(readings.client.make_url("/api/v1/read"))
    remote = [
        {"url": url, "name": name, "read_recent": True, "required_matchers": {"__name__": name},
         "filter_external_labels": False}
        for name in (METRIC, "iot_registered_device")
    ]
    settings = {"global": {"external_labels": {"prometheus": "as the chart sets it"}}, "remote_read": remote}
    (tmp_path / "prometheus.yml").write_text(json.dumps(settings))  # YAML holds JSON
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    flags += [f"--web.listen-address={address}", "--log.level=error"]
    process = await asyncio.create_subprocess_exec(PROGRAM, *flags, stderr=asyncio.subprocess.DEVNULL)
    async with ClientSession(f"http://{address}") as session:

        async def ask(expression: str, at: float) -> list[dict[str, Any]]:
            async with session.post("/api/v1/query", data={"query": expression, "time": str(at / 1_000)}) as response:
                answer = await response.json()
                assert answer["status"] == "success", answer
                found: list[dict[str, Any]] = answer["data"]["result"]
                return found

        try:
            async with asyncio.timeout(60):
                while not await _ready(session):  # noqa: ASYNC110 - another process has no event
                    await asyncio.sleep(0.1)
            yield ask
        finally:
            process.terminate()
            await process.wait()


async def _ready(session: ClientSession) -> bool:
    try:
        async with session.get("/-/ready") as response:
            return response.status == 200
    except OSError:
        return False


async def test_a_day_by_promql_is_the_apis(readings: Readings, table: Table, ask: Ask) -> None:
    end = now() - 60_000
    store(table, ledger("d1", 3_000, every_ms=40_000, start=end - 2_999 * 40_000))
    export = await readings.get("/v1/devices/d1/readings", "text/csv", from_=end - DAY + 1, to=end + 1)
    lines = (await export.text()).splitlines()[1:]
    by_api = [float(line.split(",")[4]) for line in reversed(lines)]
    [series] = await ask(f'{METRIC}{{deviceId="d1"}}[1d]', end)
    assert series["metric"] == {"__name__": METRIC, "deviceId": "d1"}
    assert [float(value) for _, value in series["values"]] == by_api
    assert len(by_api) == DAY // 40_000
    [mean] = await ask(f'avg_over_time({METRIC}{{deviceId="d1"}}[1d])', end)
    document = await readings.ask("/v1/devices/d1/readings", from_=end - DAY + 1, to=end + 1, step="365d")
    total = sum(bucket["values"]["temperature"]["mean"] * bucket["count"] for bucket in document["buckets"])
    assert float(mean["value"][1]) == pytest.approx(total / len(by_api))


async def test_devices_are_found_by_promql(readings: Readings, ask: Ask) -> None:
    assert {each["metric"]["deviceId"] for each in await ask("iot_registered_device", now())} == {"d1", "d2", "d3"}
    [count] = await ask('count(iot_registered_device{deviceId=~"d1|d3"})', now())
    assert count["value"][1] == "2"
