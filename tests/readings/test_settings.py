"""Settings are checked as a whole, and each fault names its fix."""

import pytest
from iot_readings.measurements import Measurement
from iot_readings.settings import Settings
from iot_receiver.environment import SettingsError

GOOD = {"AWS_REGION": "us-east-2", "READINGS_TABLE_NAME": "telemetry"}


def test_defaults() -> None:
    settings = Settings.from_environment(GOOD)
    assert settings.measurements == (Measurement("temperature"),)
    assert (settings.port, settings.sweep_rate, settings.live_rate) == (8080, 50, 100)
    given = {
        **GOOD,
        "READINGS_MEASUREMENTS": '{"t": {"attribute": "temperature", "unit": "°C"},'
        ' "d": {"attribute": "door", "type": "boolean"}}',
        "READINGS_HIDDEN_THINGS": "iot-verify, gateway",
    }
    settings = Settings.from_environment(given)
    assert settings.measurements == (Measurement("temperature", "number", "°C"), Measurement("door", "boolean"))
    assert settings.hidden_things == {"iot-verify", "gateway"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("READINGS_TABLE_NAME", "a b", "letters, digits"),
        ("READINGS_MEASUREMENTS", "temp", "measurements"),
        ("READINGS_MEASUREMENTS", '{"t": {"attribute": "t", "type": "date"}}', "measurements"),
        ("READINGS_RECEIVER_METRICS_URL", "iot-receiver", "http address"),
        ("READINGS_SWEEP_QUERIES_PER_SECOND", "0", "from 1 to 1000"),
        ("READINGS_QUIET_SECONDS", "1", "from 10"),
        ("READINGS_HOST", "localhost", "IP address"),
        ("READINGS_PORT", "70000", "65535"),
        ("HTTPS_PROXY", "socks5://proxy", "expected http://host:port"),
    ],
)
def test_faults_name_variable_and_fix(name: str, value: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name} .*{expected}"):
        Settings.from_environment({**GOOD, name: value})


def test_all_faults_come_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment({})
    assert error.value.faults == ["AWS_REGION is not set", "READINGS_TABLE_NAME is not set"]
