"""Mistakes in settings, and what a machine lacks: one line each with the fix, never a traceback."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from iot_device import clock, doctor
from iot_device import settings as settings_module
from iot_device.__main__ import main
from iot_device.settings import Settings, SettingsError
from iot_device.spool import Spool, open_spool
from iot_device.state import Lock

from tests.device.a_scripted_broker import ScriptedBroker
from tests.device.harness import degrees, flags

MakeSettings = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _signals_are_pytests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("signal.set_wakeup_fd", lambda *_, **__: -1)


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Run iot-device in this process; a traceback would be an exception."""
    try:
        status = main(list(arguments))
    except SystemExit as ended:  # argparse's
        status = int(ended.code or 0)
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('topic = ""', "things/telemetry"),
        ('topic = "things/#"', "neither + nor #"),
        ('topic = "things/+/x"', "neither + nor #"),
        ('topic = "a/b/c/d/e/f/g/h/i"', "7 slashes"),
        (f'topic = "{"x" * 257}"', "256 bytes"),
        ("port = inf", "port inf must be a whole number"),
        ("port = 8883.7", "whole number"),
        ("port = 0", "1 to 65535"),
        ("interval = 1e10", "interval 10000000000.0 must be 0.001 to"),
        ("interval = nan", "interval nan must be"),
        ("spool_max_days = 1e30", "must be 0.001 to 36525"),
        ("sensor_timeout = 1e300", "sensor_timeout"),
        ("reconnect_max = 1e300", "reconnect_max"),
        ("keep_alive = 1", "5 to 1200"),
        ("rate_limit = inf", "rate_limit"),
        ("spool_max_readings = 0", "1 to"),
    ],
)
def test_an_invalid_setting_is_named(
    line: str, text: str, scripted_settings: MakeSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    valid = scripted_settings()
    given = {"endpoint": "localhost", "thing": "sensor-1"} | {
        name: str(getattr(valid, name)) for name in ("certificate", "key", "ca")
    }
    path = tmp_path / "iot-device.toml"
    path.write_text("".join(f'{name} = "{value}"\n' for name, value in given.items()) + line + "\n")
    status, err = ask(capsys, "status", "--config", str(path))
    assert status == 2
    assert text in err
    assert err.count("\n") == 1


def test_the_topic_of_basic_ingest_has_slashes_of_its_own(scripted_settings: MakeSettings) -> None:
    assert scripted_settings(topic="$aws/rules/forward_to_alb/a/b/c/d/e/f/g/h").topic.startswith("$aws")


def test_a_folder_that_is_not_accessible_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def denied(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_file", denied)
    status, err = ask(capsys, "run")
    assert status == 2
    assert str(settings_module.DEFAULT_FILE) in err
    assert "as root" in err


def test_a_key_that_is_not_readable_is_named(
    scripted_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def denied(**given: object) -> None:
        raise PermissionError(13, "Permission denied", given["pri_key_filepath"])

    monkeypatch.setattr("iot_device.connection.mqtt5_client_builder.mtls_from_path", denied)
    settings = scripted_settings()
    status, err = ask(capsys, "publish", *flags(settings))
    assert status == 2
    assert f"{settings.key} cannot be read: Permission denied" in err
    assert "as root" in err


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"sensor": "cpu", "sensor_path": "/nonexistent"}, "/nonexistent"),
        ({"sensor": "command", "sensor_command": "exit 3"}, "status 3"),
        ({"sensor": "command", "sensor_command": "printf '\\377'"}, "no UTF-8"),
    ],
)
def test_a_sensor_that_gives_no_reading_is_reported(
    given: dict[str, str], text: str, scripted_settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = scripted_settings(**given)
    status, err = ask(capsys, "publish", *flags(settings))
    assert status == 1
    assert text in err
    assert "sensor_command" in err
    assert doctor.sensor(settings).verdict == "fault"


@pytest.mark.parametrize("command", ["run", "simulate"])
def test_a_ledger_that_cannot_be_written_is_named(
    command: str, scripted_settings: MakeSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    status, err = ask(capsys, command, *flags(scripted_settings()), "--ledger", "/nonexistent/ledger")
    assert status == 2
    assert "ledger /nonexistent/ledger cannot be written" in err
    assert "--ledger" in err


@pytest.mark.parametrize("temperature", ["nan", "inf", "-inf", "warm"])
def test_a_temperature_that_json_cannot_hold_is_refused(temperature: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, err = ask(capsys, "publish", f"--temperature={temperature}")
    assert status == 2
    assert temperature in err


def test_no_reading_is_published_that_is_not_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        degrees("a", float("nan")).payload()


@pytest.mark.parametrize("option", [["--rate", "1e-300"], ["--rate", "1e300"], ["--duration", "1e30"]])
def test_a_load_that_nobody_can_wait_for_is_refused(option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, err = ask(capsys, "simulate", *option)
    assert status == 2
    assert "a million" in err


def test_publish_reports_a_full_disk(
    scripted_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = scripted_settings()
    settings.state_dir.mkdir()
    lock = Lock(settings.state_dir)

    def fill(spool: Spool, *_: object) -> None:
        [pages] = spool._database.execute("PRAGMA page_count").fetchone()
        spool._database.execute(f"PRAGMA max_page_count = {pages}")
        spool._database.execute("CREATE TABLE more AS SELECT zeroblob(1000000)")

    monkeypatch.setattr(Spool, "take", fill)
    status, err = ask(capsys, "publish", *flags(settings))
    lock.release()
    assert status == 1
    assert "make room" in err


def test_simulate_reports_a_full_disk(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(Spool, "take_rows", full)
    status, err = ask(capsys, "simulate", *flags(scripted_settings()), "--count", "1")
    assert status == 1
    assert "make room" in err


def test_a_state_dir_that_is_not_accessible_is_a_finding(
    scripted_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    settings = scripted_settings()
    monkeypatch.setattr(Path, "exists", denied)
    assert doctor.disk(settings).verdict == "fault"
    with pytest.raises(SettingsError, match=r"as root|belong to this user"):
        open_spool(settings, owner=True)


def test_an_invalid_address_is_a_finding(scripted_settings: MakeSettings) -> None:
    assert clock.measure(scripted_settings(time_url="https://exa mple/")).skew is None
    [found] = doctor.reach(scripted_settings(endpoint="a..b"))
    assert (found.name, found.verdict) == ("name", "fault")
