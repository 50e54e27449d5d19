"""The readings service in the cluster: its page in a real browser, and PromQL by the cluster's own Prometheus."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.deployment.conftest import TABLE, Kubectl, needs_chart
from tests.deployment.telemetry import Device, thing
from tests.readings.browser import PROGRAM, Page, browser
from tests.support.paths import ROOT
from tests.support.waiting import until

needs_browser = pytest.mark.skipif(PROGRAM is None, reason="the page needs a browser: apt-get install chromium")
PICTURES = ROOT / "build/readings"
DEVICE = "edge-1"  # sends each second
DAY = 86_400
Aws = Callable[[str], Any]
# Milliseconds from the time that a new reading carries to its row in the document: one clock, that of this machine.
NEWS = """new Promise((done) => {
  const rows = document.getElementById('readings'), before = rows.querySelector('time').dateTime;
  new MutationObserver((_, watch) => {
    const newest = rows.querySelector('time').dateTime;
    if (newest === before) return;
    watch.disconnect();
    done(Date.now() - Date.parse(newest));
  }).observe(rows, {childList: true});
})"""


@pytest.fixture(scope="module")
def address(kubectl: Kubectl) -> str:
    """The service's, which the sandbox routes from this machine."""
    return f"http://{kubectl('get', 'service', 'iot-readings', '-n', 'apps')['spec']['clusterIP']}"


@pytest.fixture(scope="module")
def prometheus(kubectl: Kubectl) -> str:
    """The address of Prometheus."""
    found = kubectl("get", "service", "prometheus-kube-prometheus-prometheus", "-n", "monitoring")
    return f"http://{found['spec']['clusterIP']}:9090"


def ask(prometheus: str, expression: str, at: float) -> list[dict[str, Any]]:
    """What PromQL finds at a time."""
    answer = requests.post(f"{prometheus}/api/v1/query", data={"query": expression, "time": at}, timeout=60).json()
    assert answer["status"] == "success", answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def stored(aws: Aws, device: str) -> list[tuple[str, str]]:
    """Message and value of each row, newest first, by a client that is not ours."""
    pages = aws("dynamodb").get_paginator("query").paginate(
        TableName=TABLE, KeyConditionExpression="deviceId = :d", ConsistentRead=True, ScanIndexForward=False,
        ExpressionAttributeValues={":d": {"S": device}})
    return [(row["Time"]["S"].partition("#")[2], row["temperature"]["N"]) for page in pages for row in page["Items"]]


@contextmanager
def publishing(aws: Aws, address: str, folder: Path) -> Iterator[Device]:
    """A device of another client, until the block ends; the service has its thing from the registry."""
    with thing(aws("iot"), folder) as name:
        device = Device(name, folder, 1)
        device.start()
        try:
            until(lambda: requests.get(f"{address}/v1/devices", {"search": name}, timeout=10).json()["matching"], 120,
                  f"{name} in the list", every=1)
            yield device
        finally:
            device.stop()


async def picture(page: Page, name: str) -> None:
    """Keep what is seen."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / f"{name}.png").write_bytes(await page.screenshot())


@needs_browser
async def test_a_foreign_clients_value_is_on_the_screen_and_the_history_is_the_tables(
    aws: Aws, address: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with publishing(aws, address, tmp_path) as device:
        async with browser() as page:
            await page.open(f"{address}/#/{device.name}")
            await page.wait("document.querySelectorAll('#readings tr').length > 2", 60)
            waited = [await page.run(NEWS) for _ in range(5)]
            record_property("milliseconds from a reading to the screen", waited)
            device.stop()
            rows = stored(aws, device.name)[:50]
            await page.reload()
            seen = "[...document.querySelectorAll('#readings tr')]"
            await page.wait(f"{seen}.length == {len(rows)}", 60)
            assert [tuple(each) for each in await page.run(
                f"{seen}.map((row) => [row.children[3].textContent, row.children[1].textContent])")] == rows
            assert page.errors == []


@needs_browser
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844)])
async def test_the_page_is_drawn_with_the_sandboxs_readings(address: str, width: int, height: int) -> None:
    async with browser() as page:
        await page.open(f"{address}/#/{DEVICE}", width, height)
        await page.wait("document.querySelectorAll('#readings tr').length == 50", 60)
        await page.run("document.querySelector('#ranges button').click()")
        await page.wait("document.getElementById('note').textContent.includes('a point for each 5 s')")
        await page.wait("document.querySelector('.u-over') !== null")
        assert await page.run("document.documentElement.scrollWidth") == width
        assert page.errors == []
        await picture(page, f"sandbox-{width}")


@needs_chart("kube-prometheus-stack", "monitoring")
def test_a_day_by_promql_is_the_days_rows_by_the_api(address: str, prometheus: str) -> None:
    moment = milliseconds(requests.get(f"{address}/v1/devices/{DEVICE}/latest", timeout=10).json()["time"])
    asked = {"from": str(moment - DAY * 1_000 + 1), "to": str(moment + 1), "format": "ndjson"}
    lines = requests.get(f"{address}/v1/devices/{DEVICE}/readings", asked, timeout=60).text.splitlines()
    readings = [json.loads(line) for line in lines][::-1]
    by_api = {milliseconds(each["time"]): float(each["values"]["temperature"]) for each in readings}
    metric = f'iot_reading_temperature{{deviceId="{DEVICE}"}}'
    [series] = ask(prometheus, f"{metric}[1d]", moment / 1_000)
    assert series["metric"] == {
        "__name__": "iot_reading_temperature", "deployment": "iot-receiver", "deviceId": DEVICE,
    }  # fmt: skip
    assert {round(at * 1_000): float(value) for at, value in series["values"]} == by_api
    assert len(by_api) > 10
    [count] = ask(prometheus, f"count_over_time({metric}[1d])", moment / 1_000)
    assert int(count["value"][1]) == len(by_api)


@needs_chart("kube-prometheus-stack", "monitoring")
def test_prometheus_knows_the_devices_to_choose_from(address: str, prometheus: str) -> None:
    listed = requests.get(f"{address}/v1/devices", {"order": "name", "limit": "100"}, timeout=10).json()["devices"]
    now = requests.get(f"{prometheus}/api/v1/query", {"query": "time()"}, timeout=10).json()["data"]["result"][0]
    found = {each["metric"]["deviceId"] for each in ask(prometheus, "iot_registered_device", now)}
    assert DEVICE in found
    # Other tests' things come and go meanwhile.
    assert {each["deviceId"] for each in listed if not each["deviceId"].startswith("load-")} <= found


def milliseconds(time: str) -> int:
    """Milliseconds since 1970 of a time that the API wrote."""
    moment = datetime.fromisoformat(time)
    return round(moment.timestamp() * 1_000)
