"""The API gives what the table holds, in each format, and says what is wrong with a request."""

import csv
import io
import json
from typing import Any

import pytest
from iot_readings import api, keys
from iot_readings.measurements import Measurement

from tests.readings.harness import START, Make, Readings, Row, iso, ledger, now, row, store
from tests.service.harness import Table


def told(given: Row) -> dict[str, Any]:
    """What the API should say of a row."""
    time, _, message = given["Time"]["S"].partition("#")
    return {
        "deviceId": given["deviceId"]["S"],
        "time": time,
        "messageId": message,
        "receivedAt": given["received_at"]["S"],
        "values": {"temperature": float(given["temperature"]["N"])},
    }


async def test_pages_are_the_ledger_newest_first(readings: Readings, table: Table) -> None:
    rows = ledger("d1", 250)
    store(table, [*rows, *ledger("d2", 5)])
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    pages = 0
    while True:
        page = await readings.ask("/v1/devices/d1/readings", limit=100, **cursor)
        found += page["readings"]
        pages += 1
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert found == [told(each) for each in reversed(rows)]
    assert pages == 3


async def test_a_page_that_ends_with_the_last_reading_has_no_next(readings: Readings, table: Table) -> None:
    store(table, ledger("d1", 10))
    assert (await readings.ask("/v1/devices/d1/readings", limit=10))["next"] is None


@pytest.mark.parametrize("count", [0, 3, 2_500])
async def test_csv_and_ndjson_hold_the_whole_range_byte_for_byte(readings: Readings, table: Table, count: int) -> None:
    rows = ledger("d1", count)[::-1]
    store(table, rows)
    expected = io.StringIO()
    writer = csv.writer(expected)
    writer.writerow(["deviceId", "time", "messageId", "receivedAt", "temperature"])
    for each in rows:
        time, _, message = each["Time"]["S"].partition("#")
        writer.writerow(["d1", time, message, each["received_at"]["S"], each["temperature"]["N"]])
    response = await readings.get("/v1/devices/d1/readings", accept="text/csv")
    assert (response.status, response.content_type) == (200, "text/csv")
    assert await response.read() == expected.getvalue().encode()
    response = await readings.get("/v1/devices/d1/readings", accept="application/x-ndjson")
    assert [json.loads(line) for line in (await response.text()).splitlines()] == [told(each) for each in rows]
    response = await readings.get("/v1/devices/d1/readings", accept="text/csv", limit=2)
    assert (await response.text()).splitlines() == expected.getvalue().splitlines()[:3]


async def test_range_includes_from_and_excludes_to(readings: Readings, table: Table) -> None:
    store(table, ledger("d1", 10))
    page = await readings.ask("/v1/devices/d1/readings", from_=iso(START + 2_000), to=START + 5_000)
    assert [each["time"] for each in page["readings"]] == [iso(START + ms) for ms in (4_000, 3_000, 2_000)]
    page = await readings.ask("/v1/devices/d1/readings", from_="2026-01-31T13:00:08+01:00")
    assert [each["time"] for each in page["readings"]] == [iso(START + ms) for ms in (9_000, 8_000)]


async def test_range_holds_for_keys_to_the_microsecond(readings: Readings, table: Table) -> None:
    keys_ = ["2026-01-31T12:00:00.000999Z", "2026-01-31T12:00:00.001000Z", "2026-01-31T12:00:00.001999Z",
             "2026-01-31T12:00:00.002000Z"]  # fmt: skip
    store(table, [{**row("d1", START, "1"), "Time": {"S": key}} for key in keys_])
    page = await readings.ask("/v1/devices/d1/readings", from_=START + 1, to=START + 2)
    assert [(each["time"], each["messageId"]) for each in page["readings"]] == [(keys_[2], None), (keys_[1], None)]


async def test_time_ago(readings: Readings, table: Table) -> None:
    store(table, [row("d1", now() - 7_000_000, "1"), row("d1", now() - 7_300_000, "2")])
    page = await readings.ask("/v1/devices/d1/readings", from_="-2h")
    assert [each["values"] for each in page["readings"]] == [{"temperature": 1}]


async def test_numbers_stay_exact(readings: Readings, table: Table) -> None:
    digits = "12345678901234567890.123456789012345678"
    store(table, [row("d1", START, digits)])
    assert f'"temperature":{digits}' in await (await readings.get("/v1/devices/d1/readings")).text()


async def test_downsampled_is_min_mean_and_max_of_each_step(readings: Readings, table: Table) -> None:
    rows = ledger("d1", 600, every_ms=1_500)
    store(table, rows)
    expected: dict[str, list[float]] = {}
    for number, each in enumerate(rows):
        moment = START + number * 1_500
        expected.setdefault(iso(moment - moment % 60_000), []).append(float(each["temperature"]["N"]))
    found: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        cursor = {"cursor": page["next"]} if page["next"] else {}
        page = await readings.ask("/v1/devices/d1/readings", step="1m", limit=4, **cursor)
        found += page["buckets"]
    assert [each["time"] for each in found] == sorted(expected, reverse=True)
    for bucket in found:
        values = expected[bucket["time"]]
        assert bucket["count"] == len(values)
        assert bucket["values"]["temperature"] == {
            "min": min(values), "max": max(values), "mean": pytest.approx(sum(values) / len(values)),
        }  # fmt: skip
    response = await readings.get("/v1/devices/d1/readings", accept="text/csv", step=60)
    lines = (await response.text()).splitlines()
    assert lines[0] == "deviceId,time,count,temperature_min,temperature_mean,temperature_max"
    assert len(lines) == 1 + len(expected)


async def test_downsampling_reads_no_more_than_its_bound(
    readings: Readings, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "MOST_ROWS", 1_500)
    store(table, ledger("d1", 4_000))
    seen = 0
    cursor: dict[str, str] = {}
    for _ in range(10):
        before = readings.app[keys.TABLE].usage.units
        page = await readings.ask("/v1/devices/d1/readings", step="7s", **cursor)
        assert readings.app[keys.TABLE].usage.units - before < 3_200 * 200 / 8_192
        seen += sum(each["count"] for each in page["buckets"])
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == 4_000
    status, detail = await readings.refused("/v1/devices/d1/readings", step="1d")
    assert status == 400
    assert "give a shorter one" in detail


async def test_measurements_of_each_type(make_readings: Make, table: Table) -> None:
    measurements = (Measurement("temperature"), Measurement("door", "boolean"), Measurement("mode", "string"))
    readings = await make_readings(measurements=measurements)
    store(table, [row("d1", START, "1.5", door={"BOOL": True}, mode={"S": 'a,"b"'}, undeclared={"N": "7"}),
                  row("d1", START + 1, "2", clock_skew_ms={"N": "-70"})])  # fmt: skip
    late, early = (await readings.ask("/v1/devices/d1/readings"))["readings"]
    assert early["values"] == {"temperature": 1.5, "door": True, "mode": 'a,"b"'}
    assert late["clockSkewMs"] == -70
    text = await (await readings.get("/v1/devices/d1/readings", format="csv", measurement="mode")).text()
    assert text.splitlines() == ["deviceId,time,messageId,receivedAt,mode",
                                 f"d1,{iso(START + 1)},m,{iso(START + 41)},",
                                 f'd1,{iso(START)},m,{iso(START + 40)},"a,""b"""']  # fmt: skip
    page = await readings.ask("/v1/devices/d1/readings", step="1m")
    assert list(page["buckets"][0]["values"]) == ["temperature"]
    assert (await readings.refused("/v1/devices/d1/readings", step="1m", measurement="mode"))[0] == 400


async def test_latest(readings: Readings, table: Table) -> None:
    rows = ledger("d1", 30, start=now() - 60_000)
    store(table, rows)
    assert await readings.ask("/v1/devices/d1/latest") == told(rows[-1])
    newer = row("d1", now(), "-3.25", "new")
    store(table, [newer])
    assert await readings.ask("/v1/devices/d1/latest") == told(newer)
    store(table, [row("d1", now() + 3 * 86_400_000, "99", "a clock that is days ahead")])
    assert await readings.ask("/v1/devices/d1/latest") == told(newer)


async def test_unknown_device_is_404(readings: Readings, table: Table) -> None:
    for path in ("latest", "readings"):
        status, detail = await readings.refused(f"/v1/devices/nobody/{path}")
        assert (status, "there is no device 'nobody'" in detail) == (404, True)
    assert (await readings.refused("/v1/stream", device="nobody"))[0] == 404
    assert (await readings.refused("/v1/devices/d1/latest")) == (404, "device 'd1' has sent no reading yet")
    assert (await readings.ask("/v1/devices/d1/readings"))["readings"] == []
    store(table, [row("behind a gateway", START, "1")])
    assert (await readings.ask("/v1/devices/behind%20a%20gateway/readings"))["readings"]


@pytest.mark.parametrize("name", ["a/b", "a?b", "ä ü", '"><script>alert(1)</script>', "%2F", "a,b\r\nc", "..a"])
async def test_any_device_id_can_be_asked_for(readings: Readings, table: Table, name: str) -> None:
    from yarl import URL  # noqa: PLC0415 - the tests' client would encode a path once more

    store(table, [row(name, START, "1")])
    quoted = "".join(f"%{byte:02X}" for byte in name.encode())
    response = await readings.client.get(URL(f"/v1/devices/{quoted}/readings", encoded=True))
    assert (await response.json())["readings"][0]["deviceId"] == name


@pytest.mark.parametrize(
    ("path", "parameters", "part"),
    [
        ("devices", {"limit": "0"}, "limit must be a whole number from 1 to 100"),
        ("devices", {"limit": "\u0661"}, "limit must be"),
        ("devices", {"cursor": "x"}, "cursor is broken"),
        ("devices", {"cursor": "WyJxdWlldCIsICIxMjMvNCJd"}, "cursor has expired"),
        ("devices", {"order": "age"}, "order must be quiet or name"),
        ("devices", {"state": "lost"}, "state must be"),
        ("devices", {"serach": "d"}, "there is no parameter 'serach': there are search"),
        ("devices/d1/readings", {"from_": "yesterday"}, "from must be a time such as"),
        ("devices/d1/readings", {"to": "2026-01-31T12:00:00"}, "to must be a time such as"),
        ("devices/d1/readings", {"to": "9" * 15}, "to must be a time"),
        ("devices/d1/readings", {"from_": "2", "to": "2"}, "from must be earlier than to"),
        ("devices/d1/readings", {"limit": "1001"}, "from 1 to 1000"),
        ("devices/d1/readings", {"measurement": "temp"}, "measurement must be temperature"),
        ("devices/d1/readings", {"step": "0s"}, "step must be a duration"),
        ("devices/d1/readings", {"step": "1w"}, "step must be a duration"),
        ("devices/d1/readings", {"cursor": "%%%"}, "cursor is broken"),
        ("devices/d1/readings", {"cursor": "WyIyMDI3Il0", "to": "2026-01-31T12:00:00Z"}, "belongs to another range"),
        ("devices/d1/readings", {"cursor": "WyJYIl0", "step": "1m"}, "cursor is broken"),
        ("devices/d1/readings", {"format": "xml"}, "format must be json or csv or ndjson"),
        ("stream", {"devices": "d1"}, "there is no parameter 'devices'"),
    ],
)
async def test_what_is_wrong_is_said(readings: Readings, path: str, parameters: dict[str, str], part: str) -> None:
    status, detail = await readings.refused(f"/v1/{path}", **parameters)
    assert status == 400
    assert part in detail


async def test_other_errors_are_problems_too(readings: Readings) -> None:
    assert (await readings.refused("/nothing"))[0] == 404
    response = await readings.client.post("/v1/devices")
    assert (response.status, response.headers["Allow"], response.content_type) == (
        405, "GET,HEAD", "application/problem+json",
    )  # fmt: skip
    assert (await readings.refused("/v1/devices", accept="image/png"))[0] == 406
    assert (await readings.refused(f"/v1/devices/{'x' * 129}/latest"))[0] == 404


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("text/csv", "text/csv"),
        ("application/json;q=0.5, text/csv", "text/csv"),
        ("text/csv;q=0, application/json;q=0.1", "application/json"),
    ],
)
async def test_accept_chooses_the_format(readings: Readings, accept: str, kind: str) -> None:
    assert (await readings.get("/v1/devices", accept=accept)).content_type == kind
