"""What a running device does on each answer of a broker, over a real connection."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from iot_device.ledger import Ledger
from iot_device.run import Device
from iot_device.settings import Settings

from tests.device.a_scripted_broker import INVALID, NOT_AUTHORIZED, QUOTA_EXCEEDED, TOO_LARGE, Cut, ScriptedBroker
from tests.device.harness import ask, degrees, flags, running
from tests.support.waiting import until

MakeSettings = Callable[..., Settings]


def ids(path: Path) -> list[str]:
    return [json.loads(line)["messageId"] for line in path.read_text().splitlines()]


def test_every_reading_is_published_once(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path
) -> None:
    with running(scripted_settings(interval=0.02), Ledger.at(tmp_path / "ledger")) as device:
        scripted.wait(100)
    sent = [one.message["messageId"] for one in scripted.arrived]
    assert len(sent) >= 100
    assert sorted(sent) == sorted(ids(tmp_path / "ledger")) == sorted(set(sent))
    assert device.delivery.ledger.acknowledged == len(sent)


def test_quota_exceeded_slows_the_device_down(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = iter([QUOTA_EXCEEDED] * 5)
    scripted.on_publish = lambda message: next(refusals, 0)
    with running(scripted_settings(interval=0.05), Ledger.at(tmp_path / "ledger")) as device:
        assert until(lambda: device.delivery.ledger.acknowledged >= 20)
        assert device.delivery.pace.rate < 97
    assert "slowed down" in caplog.text
    assert device.spool.limit > 0
    assert set(ids(tmp_path / "ledger")) == scripted.ids


@pytest.mark.parametrize("answer", [INVALID, Cut(TOO_LARGE)])
def test_a_reading_that_is_never_accepted_is_quarantined(
    answer: int | Cut, scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    scripted.on_publish = lambda message: answer if message["temp"] == 99.5 else 0
    settings = scripted_settings(interval=0.2)
    with running(settings, Ledger.at(tmp_path / "ledger")) as device:
        scripted.wait(2)
        device.spool.take("sensor-1", [degrees("sensor-1", 99.5)])
        assert until(lambda: device.spool.counters()["quarantined"] == 1)
        before = device.delivery.ledger.acknowledged
        assert until(lambda: device.delivery.ledger.acknowledged > before + 3)
    assert "quarantined a reading" in caplog.text
    status, out = ask("status", *flags(settings))
    assert status == 1
    assert "1 readings were quarantined" in out.replace("\n", " ")
    assert "iot-device quarantine --requeue" in " ".join(out.split())
    _, out = ask("quarantine", *flags(settings))
    assert '"temp":99.5' in out
    scripted.on_publish = lambda message: 0
    with running(settings, Ledger.at(tmp_path / "ledger", append=True)):
        scripted.arrived.clear()
        assert ask("quarantine", *flags(settings), "--requeue")[0] == 0
        until(lambda: any(one.message["temp"] == 99.5 for one in scripted.arrived))
    assert "0 readings are quarantined" in ask("quarantine", *flags(settings))[1]


def test_not_authorized_is_reported_and_keeps_the_readings_until_it_is_fixed(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.on_publish = lambda message: NOT_AUTHORIZED
    settings = scripted_settings(interval=0.1)
    with running(settings, Ledger.at(tmp_path / "ledger")) as device:
        assert until(lambda: device.delivery.fault)
        device.engine._every = 0.1
        time.sleep(2)
        assert len(scripted.arrived) < 10, "it backs off"
        assert device.spool.waiting >= 15
        assert until(lambda: "NOT_AUTHORIZED" in ask("status", *flags(settings))[1])
        scripted.on_publish = lambda message: 0
        assert until(lambda: device.spool.waiting < 3, 20)
    assert "waits in the spool" in caplog.text
    assert "policy" in caplog.text


def test_doctor_reports_a_device_that_may_not_connect(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path
) -> None:
    scripted.on_connect = lambda: NOT_AUTHORIZED
    status, out = ask("doctor", *flags(scripted_settings()))
    text = " ".join(out.split())
    assert status == 1
    assert "FAULT connection the broker refuses this device: NOT_AUTHORIZED" in text
    assert "is the certificate revoked or inactive?" in text
    assert "--tags device" in text
    settings = scripted_settings(interval=0.1)
    with running(settings, Ledger.at(tmp_path / "ledger")) as device:
        device.engine._every = 0.1
        assert until(lambda: device.connection.refusal)
        assert until(lambda: "NOT_AUTHORIZED" in ask("doctor", *flags(settings))[1])


def test_a_backlog_drains_below_the_limit_and_fresh_readings_do_not_wait_for_it(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path
) -> None:
    settings = scripted_settings(interval=0.25, rate_limit=100)
    settings.state_dir.mkdir()
    device = Device(settings, Ledger())
    device.spool.take("sensor-1", [degrees("sensor-1", 200 + number / 100) for number in range(400)])
    stop = threading.Event()
    thread = threading.Thread(target=device.run, args=(stop,))
    thread.start()
    scripted.wait(400)
    stop.set()
    thread.join(30)
    instants = [one.at for one in scripted.arrived]
    assert max(sum(first <= at < first + 1 for at in instants) for first in instants) <= 105  # 100, and jitter
    backlog = [one.message["temp"] for one in scripted.arrived if one.message["temp"] >= 200]
    assert backlog == sorted(backlog)
    fresh = [number for number, one in enumerate(scripted.arrived) if one.message["temp"] < 100]
    assert len([number for number in fresh if number < 350]) >= 8, "they take turns with the backlog"


def test_what_waits_is_sent_on_the_way_out(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path
) -> None:
    scripted.on_publish = lambda message: time.sleep(0.2) or 0  # type: ignore[func-returns-value]  # a slow broker
    with running(scripted_settings(interval=0.05), Ledger.at(tmp_path / "ledger")) as device:
        scripted.wait(3)
    assert len(ids(tmp_path / "ledger")) == device.delivery.ledger.acknowledged == len(scripted.arrived)
    count = json.loads((tmp_path / "state" / "state.json").read_text())
    assert count["process"]


def test_a_silent_broker_costs_no_reading(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path
) -> None:
    """It hangs up without an answer; the same readings are sent again, under the same ids."""
    hang_ups = iter([Cut()] * 3)
    scripted.on_publish = lambda message: next(hang_ups, 0)
    with running(scripted_settings(interval=0.1), Ledger.at(tmp_path / "ledger")) as device:
        assert until(lambda: device.delivery.ledger.acknowledged >= 10)
    sent = [one.message["messageId"] for one in scripted.arrived]
    assert len(sent) == len(set(sent)) + 3
    assert sorted(ids(tmp_path / "ledger")) == sorted(set(sent))


def test_an_unknown_reason_code_is_no_acknowledgement(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path
) -> None:
    strange = iter([0x95])  # no PUBACK may carry it
    scripted.on_publish = lambda message: next(strange, 0)
    with running(scripted_settings(interval=0.1), Ledger.at(tmp_path / "ledger")) as device:
        assert until(lambda: device.delivery.ledger.acknowledged >= 3)
    sent = [one.message["messageId"] for one in scripted.arrived]
    assert sent.count(sent[0]) == 2
    assert set(ids(tmp_path / "ledger")) == set(sent)
