"""Readings, their ids, and the settings of a device."""

import json
import uuid
from pathlib import Path

import pytest
from iot_device import reading, sensors, settings
from iot_device.__main__ import main
from iot_device.measurements import TEMPERATURE, Measurements


def test_ids_carry_the_time_and_never_repeat() -> None:
    instant = 1_767_225_600_123
    ids = {reading.uuid7(instant) for _ in range(1000)}
    assert len(ids) == 1000
    for text in ids:
        parsed = uuid.UUID(text)
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert parsed.int >> 80 == instant
    assert reading.uuid7(instant) < reading.uuid7(instant + 1)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_767_225_600_007, "2026-01-01T00:00:00.007Z"),
        (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_exact_to_the_millisecond(milliseconds: int, text: str) -> None:
    assert reading.timestamp(milliseconds) == text


def test_a_reading_stays_the_same_however_often_it_is_sent() -> None:
    taken = reading.Reading("sensor-1", {"temp": 21.5})
    assert taken.payload() == taken.payload()
    members = json.loads(taken.payload())
    assert set(members) == {"deviceId", "temp", "ts", "messageId"}
    assert reading.Reading("sensor-1", {"temp": 21.5}).message != taken.message


def test_a_ramp_tells_its_readings_apart() -> None:
    sensor = sensors.ramp(Measurements(TEMPERATURE))
    values = [sensor()["temp"] for _ in range(500)]
    assert len(set(values)) == 500
    assert list(map(float, values[:3])) == [20.0, 20.01, 20.02]


def test_the_simulated_room_stays_liveable() -> None:
    sensor = sensors.simulated(Measurements(TEMPERATURE))
    assert all(10 < float(sensor()["temp"]) < 32 for _ in range(10_000))


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).touch()
    (tmp_path / "device.toml").write_text(
        'endpoint = "broker.example.com"\nthing = "sensor-1"\ncertificate = "c.pem"\nkey = "k.pem"\n'
    )
    return tmp_path


def test_a_file_names_its_neighbours_and_flags_win(folder: Path) -> None:
    loaded = settings.load(folder / "device.toml", {"thing": "other", "port": None})
    assert loaded.certificate == folder / "c.pem"
    assert loaded.ca == settings.AMAZON_ROOT_CA
    assert (loaded.thing, loaded.interval, loaded.port) == ("other", 10.0, 8883)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("port = 0", "1 to 65535"),
        ("port = true", "number"),
        ('port = "x"', "port"),
        ("interval = -1", "0.001 to"),
        ("keep_alive = 1", "5 to 1200"),
        ('colour = "red"', "colour"),
        ('key_file = "k.pem"', "key_file"),
        ('ca = "missing.pem"', "missing.pem"),
        ("topic = 7", "text"),
        ("topic", "no TOML"),
    ],
)
def test_wrong_settings_are_named(folder: Path, line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "device.toml"
    file.write_text(file.read_text() + line)
    assert main(["publish", "--config", str(file)]) == 2
    assert message in capsys.readouterr().err


def test_missing_settings_are_named_with_their_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.toml").touch()
    assert main(["run", "--config", str(tmp_path / "empty.toml"), "--thing", "a"]) == 2
    assert "--endpoint, --certificate, --key" in capsys.readouterr().err
    assert main(["run", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["simulate", "--devices", "0"],
        ["simulate", "--count", "0"],
        ["simulate", "--count", "1", "--rate", "0"],
        ["publish", "--sensor", "none"],
    ],
)
def test_the_command_line_refuses_nonsense(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
