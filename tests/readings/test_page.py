"""The page in a real browser: what it shows is what the table holds, and a device's name is text."""

from collections.abc import AsyncIterator, Callable

import pytest
from iot_readings import app as application
from iot_readings import keys
from iot_readings.hops import Rejection

from tests.readings.browser import PROGRAM, Page, browser
from tests.readings.harness import Make, Readings, eventually, ledger, now, row, store
from tests.service.harness import Table
from tests.support.paths import ROOT

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="the page needs a browser: apt-get install chromium")
PICTURES = ROOT / "build/readings"  # what the page looks like at the end of these tests
HOSTILE = '<img src=x onerror="document.title=1">'
ROWS = "[...document.querySelectorAll('.row')].sort((a, b) => a.offsetTop - b.offsetTop)"


@pytest.fixture(autouse=True)
def registry_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that devices which no registry would take can be added."""
    monkeypatch.setattr("iot_readings.registry.REFRESH_SECONDS", 3_600)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A browser's tab that has met no error by the end."""
    async with browser() as tab:
        yield tab
        assert tab.errors == []


@pytest.fixture
async def service(make_readings: Make, register: Callable[..., None], table: Table) -> Readings:
    """A fleet of forty, one of them quiet."""
    names = [f"sensor-{number:02d}" for number in range(40)]
    register(*names)
    for name in names[:8]:
        store(table, ledger(name, 60, every_ms=20_000, start=now() - 60 * 20_000))
    store(table, ledger("sensor-39", 60, every_ms=1_000, start=now() - 600_000))
    readings = await make_readings(sweep_rate=200)
    await readings.complete()
    await eventually(lambda: not readings.app[keys.FLEET].states()["unknown"])
    return readings


def address(service: Readings, device: str = "") -> str:
    return f"{service.client.make_url('/')}#/{device}"


async def picture(page: Page, name: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / f"{name}.png").write_bytes(await page.screenshot())


async def test_list_begins_with_the_quiet_and_can_be_searched(service: Readings, page: Page) -> None:
    await page.open(address(service))
    await page.wait(f"{ROWS}[0]?.querySelector('.name').textContent == 'sensor-39'")
    assert "quiet" in await page.run(f"{ROWS}[0].querySelector('.age').textContent")
    assert await page.run("document.getElementById('count').textContent") == "40 devices"
    assert await page.run(f"{ROWS}[0].querySelector('polyline').getAttribute('points').split(' ').length") == 16
    await page.press("/")
    for key in "r-07":
        await page.press(key)
    await page.wait("document.getElementById('count').textContent == '1 device'")
    await page.press("ArrowDown")
    assert await page.run("document.activeElement.querySelector('.name').textContent") == "sensor-07"
    await page.press("Enter")
    await page.wait("document.getElementById('name').textContent == 'sensor-07'")
    await page.press("Escape")
    await page.wait("document.getElementById('device').hidden")


async def test_history_is_the_tables_and_zooms(service: Readings, table: Table, page: Page) -> None:
    rows = [each for each in table.rows() if each["deviceId"]["S"] == "sensor-03"][::-1]
    await page.open(address(service, "sensor-03"))
    await page.wait("document.querySelectorAll('#readings tr').length == 50")
    shown = await page.run(
        "[...document.querySelectorAll('#readings tr')].map((row) => [row.querySelector('time').dateTime,"
        " row.children[1].textContent, row.querySelector('.id').textContent])"
    )
    assert shown == [
        [time, each["temperature"]["N"], message]
        for each in rows[:50]
        for time, message in [each["Time"]["S"].split("#")]
    ]
    await page.wait("document.getElementById('note').textContent.startsWith('60 readings')")
    box = await page.run("document.querySelector('.u-over').getBoundingClientRect().toJSON()")
    middle = box["y"] + box["height"] / 2
    await page.drag((box["x"] + box["width"] * 0.8, middle), (box["x"] + box["width"] * 0.95, middle))
    await page.wait("document.getElementById('note').textContent.includes('zoom out')")
    assert int((await page.run("document.getElementById('note').textContent")).split()[0]) < 60


async def test_a_new_value_is_on_the_screen_at_once(service: Readings, table: Table, page: Page) -> None:
    await page.open(address(service, "sensor-05"))
    await page.wait("document.querySelectorAll('#readings tr').length == 50")
    await eventually(lambda: "sensor-05" in set(service.app[keys.STREAMS].named()))
    store(table, [row("sensor-05", now(), "77.25", "live")])
    await page.wait("document.getElementById('value').textContent == '77.25 °C'")
    await page.wait(f"{ROWS}.find((row) => row.textContent.includes('sensor-05')).textContent.includes('77.25')")
    assert await page.run("document.querySelector('#readings .id').textContent") == "live"


async def test_a_reading_loaded_and_streamed_is_one_row(service: Readings, table: Table, page: Page) -> None:
    await page.open(address(service, "sensor-05"))
    await page.wait("document.querySelectorAll('#readings tr').length == 50")
    await eventually(lambda: "sensor-05" in set(service.app[keys.STREAMS].named()))
    device = service.app[keys.FLEET].get("sensor-05")
    assert device is not None
    assert device.last is not None
    service.app[keys.STREAMS].publish(device.last)
    store(table, [row("sensor-05", now(), "77.25", "live")])
    ids = "[...document.querySelectorAll('#readings .id')].map((cell) => cell.textContent)"
    await page.wait(f"{ids}[0] == 'live'")
    assert (await page.run(ids))[:3] == ["live", "m59", "m58"]


async def test_a_hostile_name_and_value_are_text(service: Readings, table: Table, page: Page) -> None:
    service.app[keys.FLEET].add([HOSTILE])
    store(table, [row(HOSTILE, now(), "1", HOSTILE)])
    await page.open(address(service))
    await page.wait("document.querySelectorAll('.row').length > 5")
    await page.run(f"document.getElementById('search').value = {HOSTILE!r}")
    await page.run("document.getElementById('search').dispatchEvent(new Event('input'))")
    await page.wait(f"{ROWS}[0].querySelector('.name').textContent == {HOSTILE!r}")
    await page.run(f"{ROWS}[0].click()")
    await page.wait("document.querySelectorAll('#readings tr').length == 1")
    assert await page.run("document.querySelector('#readings .id').textContent") == HOSTILE
    assert await page.run("document.querySelectorAll('img').length") == 0
    assert await page.run("document.title") == f"{HOSTILE} \N{EN DASH} Readings"


async def test_why_messages_were_rejected_is_text(
    make_readings: Make, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = await make_readings(receiver_metrics_url="http://127.0.0.1:9/metrics")
    readings.app[keys.RECEIVER].add([Rejection("2026-01-31T12:00:00.000Z", "d1", f"temp is {HOSTILE}")])
    await page.open(address(readings))
    await page.wait("document.getElementById('lately').textContent == '1 rejected lately'")
    await page.run("document.getElementById('lately').click()")
    assert await page.run("document.querySelector('#reasons tr').lastChild.textContent") == f"temp is {HOSTILE}"
    assert await page.run("document.getElementById('reasons').offsetHeight") > 0
    assert await page.run("document.querySelectorAll('img').length") == 0


async def test_policy_forbids_scripts_of_others(service: Readings, page: Page) -> None:
    await page.open(address(service))
    await page.wait("document.querySelectorAll('.row').length > 5")
    await page.run(
        "{const script = document.createElement('script'); script.textContent = 'window.ran = 1';"
        " document.body.append(script); const link = document.createElement('a'); document.body.append(link);"
        " link.setAttribute('onclick', 'window.ran = 2'); link.click()}"
    )
    assert await page.run("window.ran") is None
    assert len(page.errors) == 2
    assert all("Content Security Policy" in error for error in page.errors)
    page.errors.clear()


async def test_list_stays_small_and_quick_at_a_hundred_thousand(make_readings: Make, page: Page) -> None:
    readings = await make_readings(sweep_rate=1)
    await readings.complete()
    readings.app[keys.FLEET].add([f"sensor-{number:06d}" for number in range(100_000)])
    await page.open(address(readings))
    await page.wait("document.getElementById('count').textContent.startsWith('100,000 devices')")
    await page.wait(f"(document.getElementById('list').scrollTop = 1e9, Number({ROWS}[0].dataset.index) > 100)")
    assert await page.run("document.querySelectorAll('.row').length") < 50


@pytest.mark.parametrize(("width", "height", "dark"), [(1280, 800, False), (1280, 800, True), (390, 844, False)])
async def test_nothing_is_cut_off(service: Readings, page: Page, *, width: int, height: int, dark: bool) -> None:
    look = f"{width}{'-dark' if dark else ''}"
    await page.open(address(service), width, height, dark=dark)
    await page.wait("document.querySelectorAll('.row').length > 5")
    await picture(page, f"list-{look}")
    await page.run("location.hash = '#/sensor-03'")
    await page.wait("document.querySelectorAll('#readings tr').length == 50")
    await page.wait("document.querySelector('.u-over') !== null")
    await picture(page, f"device-{look}")
    assert await page.run("document.documentElement.scrollWidth") == width
    assert await page.run("getComputedStyle(document.getElementById('fleet')).display == 'none'") == (width < 760)
    light = sum(map(int, (await page.run("getComputedStyle(document.body).backgroundColor"))[4:-1].split(","))) > 384
    assert light is not dark


async def test_headers_and_files(service: Readings) -> None:
    for path in application.FILES:
        response = await service.client.get(path)
        assert response.status == 200
        assert "script-src 'self';" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    text = await (await service.client.get("/")).text()
    assert "<script>" not in text
    assert "style=" not in text
