"""What the publisher is told: by a TOML file, and by flags that win over it."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

DEFAULT_FILE = Path("/etc/iot-device/iot-device.toml")
STATE_DIR = Path("/var/lib/iot-device")
THERMAL_ZONE = Path("/sys/class/thermal/thermal_zone0/temp")
SENSORS = ("simulated", "cpu", "command")
PATHS = ("certificate", "key", "ca", "state_dir", "metrics_file")  # in a file, relative to it
AMAZON_ROOT_CA = Path(__file__).with_name("AmazonRootCA1.pem")  # signs the brokers of all regions
AS_OWNER = "ask as root, or as the service's user"
DAY_S = 86_400
RANGES: dict[str, tuple[float, float]] = {
    "port": (1, 65535),
    "interval": (0.001, 366 * DAY_S),
    "sensor_timeout": (0.1, DAY_S),
    "keep_alive": (5, 1200),  # AWS IoT Core's
    "reconnect_max": (0.5, DAY_S),
    "rate_limit": (0, 1e6),
    "spool_max_readings": (1, 1e12),
    "spool_max_days": (0.001, 36525),
}


class SettingsError(ValueError):
    """A setting is missing or cannot be; the message names the fix."""


@dataclass(frozen=True)
class Settings:
    """One device. Paths in a file may be relative to it."""

    endpoint: str
    """Host name of the broker: the account's own, ending in -ats.iot.<region>.amazonaws.com."""
    thing: str
    """Name of the thing; MQTT client id and deviceId are the same."""
    certificate: Path
    """The thing's certificate (PEM)."""
    key: Path
    """The certificate's private key (PEM)."""
    ca: Path = AMAZON_ROOT_CA
    """The authority that signed the broker's certificate (PEM)."""
    port: int = 8883
    topic: str = "things/telemetry"
    interval: float = 10.0
    """Seconds between two readings."""
    sensor: str = "simulated"
    sensor_path: Path = THERMAL_ZONE
    """With sensor cpu, the file of the thermal zone."""
    sensor_command: str = ""
    """With sensor command, a shell's command line that prints degrees Celsius."""
    sensor_timeout: float = 10.0
    """Seconds that the command may take."""
    keep_alive: int = 20
    """Seconds between signs of life on an idle connection: a dead link shows after about as long."""
    reconnect_max: float = 60.0
    """Seconds between two tries to connect at most; each waits a random part of a time that doubles up to this."""
    rate_limit: float = 100.0
    """Publishes a second at most; AWS IoT Core takes 100 from one connection. 0 for none."""
    state_dir: Path = field(default_factory=lambda: Path(os.environ.get("STATE_DIRECTORY", STATE_DIR)))
    """Folder of the spool and of what status shows."""
    spool_max_readings: int = 500_000
    """How many readings may wait; the oldest are dropped beyond that. 500,000 take about 120 MB."""
    spool_max_days: float = 30.0
    """How long a reading may wait."""
    metrics_file: Path | None = None
    """Where metrics are written; metrics.prom in state_dir unless it is set."""
    time_url: str = ""
    """https address whose answer's Date the clock is compared with; the endpoint's port 443 unless it is set."""

    def __post_init__(self) -> None:
        for name in ("certificate", "key", "ca"):
            path: Path = getattr(self, name)
            if not _is_file(name, path):
                raise SettingsError(f"{name} {path} is no file: say where it is, by --{name} or in the settings file.")
        for name, (least, most) in RANGES.items():
            if not least <= getattr(self, name) <= most:
                raise SettingsError(f"{name} {getattr(self, name)} must be {least:.10g} to {most:.10g}.")
        self._check_topic()
        if self.sensor not in SENSORS:
            raise SettingsError(f"sensor {self.sensor!r} must be one of {', '.join(SENSORS)}.")

    def _check_topic(self) -> None:
        """Hold the topic against MQTT and AWS IoT Core's quotas, which leave the head of basic ingest aside."""
        counted = re.sub(r"^\$aws/rules/[^/]*/", "", self.topic)
        if not counted or set(counted) & set("+#\0") or counted.count("/") > 7 or len(counted.encode()) > 256:
            raise SettingsError(
                f"topic {self.topic!r} must be 1 to 256 bytes with at most 7 slashes and neither + nor #, "
                "such as things/telemetry."
            )

    @classmethod
    def make(cls, given: Mapping[str, Any]) -> Self:
        """Check and convert what was given. Raises SettingsError."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise SettingsError(f"unknown setting {', '.join(unknown)}: the settings are {', '.join(sorted(known))}.")
        if missing := [name for name in ("endpoint", "thing", "certificate", "key") if not given.get(name)]:
            flags = ", ".join(f"--{name}" for name in missing)
            raise SettingsError(f"{', '.join(missing)} missing: give {flags}, or a settings file with --config.")
        converted = {name: _convert(name, value) for name, value in given.items()}
        return cls(**converted)


_KINDS: dict[str, Any] = {
    "port": int,
    "interval": float,
    "keep_alive": int,
    "rate_limit": float,
    "reconnect_max": float,
    "sensor_timeout": float,
    "spool_max_readings": int,
    "spool_max_days": float,
} | dict.fromkeys((*PATHS, "sensor_path"), Path)


def _convert(name: str, value: Any) -> Any:
    kind = _KINDS.get(name, str)
    if isinstance(value, bool) or (kind is str and not isinstance(value, str)):
        raise SettingsError(f"{name} {value!r} must be a {'text' if kind is str else 'number'}.")
    if kind is int and isinstance(value, float):
        raise SettingsError(f"{name} {value!r} must be a whole number.")
    try:
        return kind(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise SettingsError(f"{name} {value!r} is not valid: {error}.") from error


def _is_file(name: str, path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # its folder may not be looked into
        raise SettingsError(f"{name} {path} cannot be looked at: {error.strerror}: {AS_OWNER}.") from error


def read_file(path: Path) -> dict[str, Any]:
    """Return a settings file's content, its relative paths resolved. Raises SettingsError."""
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        fix = f": {AS_OWNER}" if isinstance(error, PermissionError) else ""
        raise SettingsError(f"settings file {path} cannot be read: {error.strerror}{fix}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is no TOML: {error}.") from error
    for name in PATHS:
        if isinstance(content.get(name), str):
            content[name] = path.parent / content[name]
    return content


def load(config: Path | None, flags: Mapping[str, Any]) -> Settings:
    """Return the settings of a file (the default one if it is there) and the flags that were given."""
    given: dict[str, Any] = {}
    if config or _is_file("settings file", DEFAULT_FILE):
        given = read_file(config or DEFAULT_FILE)
    return Settings.make(given | {name: value for name, value in flags.items() if value is not None})
