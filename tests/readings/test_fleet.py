"""The list of devices: who is on it, who comes first, who is quiet, and what looking costs."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import pytest
from iot_readings import fleet, keys
from iot_receiver.connection import Server

from tests.readings.harness import Make, Readings, eventually, ledger, now, row, store
from tests.service.harness import Table

Register = Callable[..., None]


async def listed(readings: Readings, **parameters: Any) -> list[str]:
    """The names on all pages."""
    names: list[str] = []
    page = await readings.ask("/v1/devices", **parameters)
    while True:
        names += [device["deviceId"] for device in page["devices"]]
        if page["next"] is None:
            return names
        page = await readings.ask("/v1/devices", cursor=page["next"], **parameters)


async def test_pages_hold_each_device_once(make_readings: Make, register: Register) -> None:
    names = [f"fleet-{number}" for number in range(25)]
    register(*names, "other")
    readings = await make_readings()
    await readings.complete()
    for order in ("quiet", "name"):
        assert sorted(await listed(readings, limit=7, order=order)) == sorted([*names, "other"])
    assert await listed(readings, limit=10, order="name", search="LEET-1") == sorted(n for n in names if "leet-1" in n)
    page = await readings.ask("/v1/devices", search="fleet", limit=1)
    assert (page["matching"], page["complete"]) == (25, True)


async def test_hidden_things_are_left_out(make_readings: Make, register: Register) -> None:
    register("d1", "iot-verify")
    readings = await make_readings(hidden_things=frozenset({"iot-verify"}))
    await readings.complete()
    assert await listed(readings) == ["d1"]


async def test_other_deployments_things_are_left_out(make_readings: Make, register: Register) -> None:
    register("ours", Deployment="staging")
    register("others", Deployment="prod")
    register("nobodys", room="cellar")
    readings = await make_readings(deployment="staging")
    await readings.complete()
    assert sorted(await listed(readings)) == ["nobodys", "ours"]
    everything = await make_readings()
    await everything.complete()
    assert sorted(await listed(everything)) == ["nobodys", "others", "ours"]


async def test_device_shows_its_last_reading_interval_and_age(started: Make, table: Table) -> None:
    rows = ledger("d1", 40, every_ms=5_000, start=now() - 40 * 5_000)
    store(table, rows)
    readings = await started()
    device = (await readings.ask("/v1/devices", search="d1"))["devices"][0]
    assert (device["state"], device["usualIntervalSeconds"]) == ("live", 5)
    assert device["last"]["messageId"] == "m39"
    assert 4 < device["ageSeconds"] < 60
    assert [each["value"] for each in device["recent"]] == [float(each["temperature"]["N"]) for each in rows[-16:]]
    text = await (await readings.get("/v1/devices", accept="text/csv", search="d1")).text()
    assert text.splitlines()[0] == "deviceId,state,ageSeconds,usualIntervalSeconds,lastTime"
    assert text.splitlines()[1].startswith("d1,live,")


async def test_quiet_is_who_is_silent_for_longer_than_usual(started: Make, table: Table) -> None:
    store(table, ledger("d1", 20, every_ms=1_000, start=now() - 19_000 - 60_000))  # each second, silent for a minute
    store(table, ledger("d2", 20, every_ms=60_000, start=now() - 19 * 60_000 - 60_000))  # each minute, just as silent
    readings = await started()
    first = await readings.ask("/v1/devices", order="name")
    assert [device["state"] for device in first["devices"]] == ["quiet", "live", "never"]
    readings.app[keys.FLEET]._snapshot_at = float("-inf")
    page = await readings.ask("/v1/devices")
    assert [device["deviceId"] for device in page["devices"]] == ["d1", "d2", "d3"]
    assert page["states"] == {"quiet": 1, "live": 1, "never": 1, "unknown": 0}
    assert await listed(readings, state="quiet") == ["d1"]
    metrics = await (await readings.client.get("/metrics")).text()
    assert 'iot_fleet_devices{state="quiet"} 1' in metrics
    assert 'iot_fleet_quiet_seconds{device="d1"} 6' in metrics
    assert "d2" not in metrics


async def test_who_has_too_few_readings_for_an_interval_is_given_time(make_readings: Make, table: Table) -> None:
    readings = await make_readings(quiet_seconds=100)
    store(table, [row("d1", now() - 50_000, "1"), row("d2", now() - 200_000, "1")])
    looked = readings.app[keys.FLEET]
    assert [(await looked.look(name)).state for name in ("d1", "d2")] == ["live", "quiet"]


async def test_a_wrong_clock_is_no_silence(make_readings: Make, table: Table) -> None:
    readings = await make_readings()
    rows = ledger("d1", 20, start=now() - 9 * 86_400_000)
    store(table, [each | {"received_at": {"S": row("d1", now() - 1_000, "1")["received_at"]["S"]}} for each in rows])
    assert (await readings.app[keys.FLEET].look("d1")).state == "live"


async def test_a_look_at_a_device_is_one_query_and_half_a_unit(make_readings: Make, table: Table) -> None:
    readings = await make_readings()
    store(table, ledger("d1", 400, start=now() - 400_000))
    usage = readings.app[keys.TABLE].usage
    looked = readings.app[keys.FLEET]
    before = usage.queries, usage.units
    await asyncio.gather(*(looked.look("d1", fresh=0.0) for _ in range(50)))
    assert (usage.queries - before[0], usage.units - before[1]) == (1, 0.5)


async def test_only_what_is_new_is_read_again(readings: Readings, table: Table) -> None:
    looked = readings.app[keys.FLEET]
    store(table, ledger("d1", 30, start=now() - 40_000))
    device = await looked.look("d1", fresh=0.0)
    store(table, [row("d1", now(), "55.5", "new")])
    assert (await looked.look("d1", fresh=0.0)).last is not None
    assert device.recent[-1] == 55.5
    assert len(device.recent) == 2 * fleet.RECENT


async def test_sweep_and_registry_take_in_what_changes(
    make_readings: Make, register: Register, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iot_readings.registry.REFRESH_SECONDS", 0.1)
    register("d1")
    store(table, ledger("d1", 20, start=now() - 20_000))
    readings = await make_readings(sweep_rate=200)
    await eventually(lambda: readings.app[keys.FLEET].states()["live"])
    register("d2")
    await eventually(lambda: readings.app[keys.FLEET].states()["never"])


async def test_the_first_thing_of_an_empty_registry_is_soon_listed(
    make_readings: Make, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iot_readings.registry.EMPTY_SECONDS", 0.1)
    monkeypatch.setattr("iot_readings.registry.REFRESH_SECONDS", 3_600)
    readings = await make_readings(sweep_rate=200)
    await readings.complete()
    register("d1")
    await eventually(lambda: readings.app[keys.FLEET].states()["never"])


async def test_a_new_device_is_soon_looked_at_again(make_readings: Make) -> None:
    readings = await make_readings(sweep_rate=200)
    await readings.complete()
    looked = readings.app[keys.FLEET]
    looked.add(["new"])
    await eventually(lambda: looked._devices["new"].state == "never")
    [due] = [due for due, name in looked._due if name == "new"]
    assert due - monotonic() <= fleet.SWEEP_SECONDS[0]


async def test_a_hundred_thousand_devices_are_listed_and_searched(make_readings: Make) -> None:
    readings = await make_readings(sweep_rate=1)
    await readings.complete()
    readings.app[keys.FLEET].add([f"sensor-{number:06d}" for number in range(100_000)])
    page = await readings.ask("/v1/devices", limit=10)
    assert (page["matching"], len(page["devices"])) == (100_000, 10)
    assert (await readings.ask("/v1/devices", search="-0999", limit=1))["matching"] == 100


async def test_without_dynamodb_pages_show_what_is_known(
    readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = readings.app[keys.TABLE]
    monkeypatch.setattr(table, "_server", Server("http://127.0.0.1:9/"))
    assert (await readings.client.get("/readyz")).status == 200
    assert len((await readings.ask("/v1/devices"))["devices"]) == 3
    status, detail = await readings.refused("/v1/devices/d1/latest")
    assert (status, detail) == (503, "DynamoDB could not be read: ConnectionRefusedError")
    hops = {hop["name"]: hop["state"] for hop in (await readings.ask("/v1/health"))["hops"]}
    assert hops["table"] == "failed"
