"""A host without a clock of its own: its readings wait until it is synchronised, and then have their true time."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from iot_device import synchronisation
from iot_device.reading import timestamp
from iot_device.settings import Settings
from iot_device.spool import DAY_MS, Shift, Spool

from tests.device.a_scripted_broker import ScriptedBroker
from tests.device.harness import degrees, running
from tests.support.waiting import until

MakeSettings = Callable[..., Settings]
NOW = 1_767_225_600_000


class Host:
    """Its clock is `wrong` by so many ms, and synchronised or not."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wrong, self.synchronised = -3 * DAY_MS, False
        clock = SimpleNamespace(time_ns=lambda: time.time_ns() + self.wrong * 1_000_000)
        monkeypatch.setattr("iot_device.reading.time", clock)
        monkeypatch.setattr(synchronisation, "synchronised", lambda: self.synchronised)
        monkeypatch.setattr(synchronisation, "SERVICES", (folder,))


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_readings_wait_for_the_clock_and_are_corrected(
    host: Host, scripted: ScriptedBroker, scripted_settings: MakeSettings
) -> None:
    began = time.time()
    with running(scripted_settings(interval=0.05)) as device:
        until(lambda: device.spool.waiting > 3 and device.connection.connected)
        host.wrong = -DAY_MS  # somebody sets it by hand, not well
        until(lambda: device.spool.waiting > 8)
        assert scripted.arrived == []
        host.wrong, host.synchronised = 0, True
        until(lambda: len(scripted.ids) > 20)
    times = [datetime.fromisoformat(one.message["ts"]).timestamp() for one in scripted.arrived]
    assert all(began - 0.2 < moment < time.time() for moment in times), "their true times"
    assert len(set(times)) == len(times) == len(scripted.ids)


def test_a_clock_that_nobody_synchronises_holds_nothing_for_long(
    host: Host, scripted: ScriptedBroker, scripted_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(synchronisation, "PATIENCE_S", 1.5)
    with running(scripted_settings(interval=0.1)):
        until(lambda: len(scripted.ids) > 3)
    sent = scripted.arrived[0].message["ts"]
    assert datetime.fromisoformat(sent).timestamp() < time.time() + host.wrong / 1000
    assert "readings are sent with its time" in caplog.text


def test_a_host_without_a_time_service_waits_for_nothing(
    host: Host, scripted: ScriptedBroker, scripted_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synchronisation, "SERVICES", ())
    with running(scripted_settings(interval=0.1)) as device:
        assert not device._hold.holds
        until(lambda: len(scripted.ids) > 3)


def test_a_device_that_stops_meanwhile_keeps_its_readings(
    host: Host, scripted: ScriptedBroker, scripted_settings: MakeSettings
) -> None:
    settings = scripted_settings(interval=0.05)
    with running(settings) as device:
        until(lambda: device.spool.waiting > 3 and device.connection.connected)
        stopped = time.monotonic()
    assert time.monotonic() - stopped < 5, "it does not try to send them"
    spool = Spool(settings.state_dir / "spool.db")
    assert spool.waiting > 3
    assert scripted.arrived == []
    spool.close()


@pytest.fixture(name="boot")
def _boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What says that the host was restarted."""
    path = tmp_path / "boot_id"
    path.write_text("one")
    monkeypatch.setattr(synchronisation, "BOOT", path)
    return path


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("rebooted", [False, True])
def test_a_restarted_publisher_corrects_what_was_taken_since_the_host_started(
    host: Host, boot: Path, scripted: ScriptedBroker, scripted_settings: MakeSettings, *, rebooted: bool, late: bool
) -> None:
    settings, began = scripted_settings(interval=0.05), time.time()
    with running(settings) as device:
        until(lambda: device.spool.waiting > 3)
    waited = device.spool.last
    if rebooted:
        boot.write_text("another one")
    if late:
        host.wrong, host.synchronised = 0, True  # while no publisher runs
    with running(settings) as device:
        until(lambda: device.spool.last > waited + 2)
        host.wrong, host.synchronised = 0, True
        until(lambda: len(scripted.ids) > waited + 4)
    times = [datetime.fromisoformat(one.message["ts"]).timestamp() for one in scripted.arrived]
    as_they_were = [moment for moment in times if moment < began - 60]
    assert len(as_they_were) == (waited if rebooted else 0)
    assert rebooted or not (settings.state_dir / "clock.json").exists(), "the next start corrects nothing again"


def test_times_are_shifted_on_the_disk_and_in_memory(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    readings = [degrees("a", number, NOW + number) for number in range(6)]
    spool.take("a", readings[:4])
    spool.hold("a", readings[4:])
    assert spool.shift([Shift(2, 4, -DAY_MS), Shift(4, None, 3 * DAY_MS)]) == 5
    spool.close()
    spool = Spool(tmp_path / "spool.db")  # it verifies each row
    shifts = (0, -DAY_MS, -DAY_MS, 3 * DAY_MS, 3 * DAY_MS, 3 * DAY_MS)
    rows = [json.loads(row.payload) for row in spool.fetch("a", 0, spool.last, 9)]
    assert [row["ts"] for row in rows] == [timestamp(NOW + place + shift) for place, shift in enumerate(shifts)]
    assert [row["messageId"] for row in rows] == [reading.message for reading in readings]
    assert spool.oldest() == NOW
    assert spool.counters()["taken"] == spool.waiting == 6
    spool.close()
