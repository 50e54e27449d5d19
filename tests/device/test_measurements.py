"""What a device measures: declarations, what sensors print, and simulated values."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from iot_device import sensors
from iot_device.measurements import Measurements, Value
from iot_device.reading import Reading
from iot_device.settings import Settings, SettingsError

from tests.device.a_scripted_broker import ScriptedBroker
from tests.device.harness import ask, flags

MakeSettings = Callable[..., Settings]
DECLARED = {
    "temp": {"attribute": "temperature", "type": "number", "required": True, "minimum": -40, "maximum": 85},
    "humidity": {"type": "integer", "minimum": 0, "maximum": 100, "unit": "%"},
    "door": {"type": "boolean"},
    "state": {"type": "string", "max_length": 8},
}
ALL = Measurements(DECLARED)
DIGITS = "12.345678901234567890123456789012345678"


@pytest.mark.parametrize(
    ("printed", "values"),
    [
        ("21.50\n", {"temp": Decimal("21.50")}),
        ("+.5", {"temp": Decimal("0.5")}),
        ('{"temp": 1, "humidity": null, "state": ""}', {"temp": 1, "state": ""}),
        ('{"temp": 21.5, "humidity": 40, "door": true, "state": "idle"}',
         {"temp": Decimal("21.5"), "humidity": 40, "door": True, "state": "idle"}),
        ('{"door": false, "temp": -1e1}', {"temp": Decimal(-10), "door": False}),
        (f'{{"temp": {DIGITS}}}', {"temp": Decimal(DIGITS)}),
    ],
)  # fmt: skip
def test_what_a_sensor_prints_is_read_exactly(printed: str, values: dict[str, Value]) -> None:
    assert ALL.parse(printed) == values
    assert list(ALL.parse(printed)) == [name for name in ALL if name in values], "in the declared order"


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ("", "neither a number nor JSON"),
        ("[21.5]", "JSON object"),
        ('{"temp": NaN}', "no NaN"),
        ('{"temp": 21, "temp": 22}', "twice"),
        ('{"temp": "21"}', "must be a number"),
        ('{"temp": true}', "must be a number"),
        ('{"temp": null}', "temp is missing"),
        ('{"temp": [1]}', "must be a number"),
        ('{"temp": 86}', "above its maximum 85"),
        ('{"temp": 21, "state": "\\ud83d"}', "half of a surrogate pair"),
        ("-41", "below its minimum -40"),
        ('{"temp": 1e-200}', "38 digits"),
        ("0e-999999", "38 digits"),
        ("1e99999999999999999999", "beyond every number"),
        (f'{{"temp": 1.{"3" * 39}}}', "38 digits"),
        ('{"humidity": 40}', "temp is missing"),
        ('{"temp": 1, "humidity": 40.5}', "whole number"),
        ('{"temp": 1, "door": 1}', "true or false"),
        ('{"temp": 1, "state": "much too long"}', "at most 8 characters"),
        ('{"temp": 1, "pressure": 1013}', "pressure is not declared: measurements has temp, humidity"),
        ('{"temp": 1, "wind": 2, "rain": 0}', "rain, wind are not declared: measurements has temp, humidity"),
        ("[" * 100_000, "neither a number nor JSON"),
        ('{"temp": ' + "9" * 10_000 + "}", "neither a number nor JSON"),
    ],
)
def test_what_is_no_measurement_is_refused_with_the_reason(printed: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as raised:
        ALL.parse(printed)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ({}, "must be a mapping"),
        ({"temp": 7}, "must be a mapping"),
        ({"temp": {"minimum": 3, "maximum": 2}}, "above its maximum"),
        ({"temp": {"type": "float"}}, "number, integer, boolean, string"),
        ({"deviceId": {"type": "string"}}, "reserved"),
        ({"iot_payload": {"type": "string"}}, "reserved"),
        ({"temp": {"type": "number", "min": 3}}, "temp has min"),
        ({"door": {"type": "boolean", "minimum": 3}}, "minimum"),
        ({"temp": {"type": "number", "max_length": 3}}, "max_length"),
        ({"temp": {"type": "number", "required": "yes"}}, "true or false"),
    ],
)
def test_an_invalid_declaration_is_named(declared: object, reason: str, scripted_settings: MakeSettings) -> None:
    with pytest.raises(SettingsError, match=reason):
        scripted_settings(measurements=declared)
    with pytest.raises(SettingsError, match=reason):
        scripted_settings(measurements=json.dumps(declared))


@pytest.mark.parametrize("declared", ['{"temp": {"maximum": 1e99999999999999999999}}', "[" * 100_000])
def test_a_declaration_that_python_cannot_read_is_named(declared: str, scripted_settings: MakeSettings) -> None:
    with pytest.raises(SettingsError, match="beyond every number"):
        scripted_settings(measurements=declared)


def test_a_settings_file_declares_measurements(scripted_settings: MakeSettings, tmp_path: Path) -> None:
    given = scripted_settings()
    names = ("endpoint", "thing", "certificate", "key")
    lines = [f"{name} = {json.dumps(str(getattr(given, name)))}" for name in names]
    path = tmp_path / "iot-device.toml"
    path.write_text("\n".join([*lines, 'measurements.temp = { type = "number", minimum = -40.5 }',
                               'measurements."door" = { type = "boolean" }']))  # fmt: skip
    status, out = ask("publish", "--config", str(path), "--values", '{"temp": -41}')
    assert status == 2
    assert "below its minimum -40.5" in out


@pytest.mark.parametrize("make", [sensors.simulated, sensors.ramp])
def test_every_type_is_simulated_within_its_limits(make: Callable[[Measurements], sensors.Sensor]) -> None:
    sensor = make(ALL)
    seen = [sensor() for _ in range(2000)]
    assert all(ALL.check(values) == values for values in seen)
    for name in ALL:
        assert len({values[name] for values in seen}) > 1, f"{name} changes"
    narrow = Measurements({"temp": {"type": "number", "minimum": 90}, "low": {"type": "integer", "maximum": -50}})
    assert all(narrow.check(values) for values in (make(narrow)() for _ in range(100)))


def test_a_command_with_several_measurements_is_published(
    scripted: ScriptedBroker, scripted_settings: MakeSettings
) -> None:
    printed = '{"temp": 21.25, "humidity": 40, "door": true, "state": "idle"}'
    settings = scripted_settings(sensor="command", sensor_command=f"echo '{printed}'", measurements=DECLARED)
    status, out = ask("publish", *flags(settings))
    assert status == 0, out
    [arrived] = scripted.arrived
    assert arrived.message == json.loads(out)
    assert {name: arrived.message[name] for name in ALL} == json.loads(printed)
    status, out = ask("doctor", *flags(settings))
    assert "temp 21.25, humidity 40 %, door true, state \"idle\"" in " ".join(out.split())


def test_the_digits_of_a_number_are_kept_up_to_the_message() -> None:
    reading = Reading("sensor-1", ALL.parse(f'{{"temp": {DIGITS}, "state": "\\u00e9"}}'), 0)
    assert f'"temp":{DIGITS},"state":"\\u00e9","ts"' in reading.payload()
