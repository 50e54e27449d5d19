"""The settings of one device: those of a TOML file, and flags that override them.

`Settings` is the only table of them. Type, default, limits and help of each stand there; the command line is made
from it.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NamedTuple, Self, get_args, get_type_hints

from iot_device.measurements import TEMPERATURE, Measurements

DEFAULT_FILE = Path("/etc/iot-device/iot-device.toml")
STATE_DIR = Path("/var/lib/iot-device")
THERMAL_ZONE = Path("/sys/class/thermal/thermal_zone0/temp")
SENSORS = ("simulated", "cpu", "command")
AMAZON_ROOT_CA = Path(__file__).with_name("AmazonRootCA1.pem")  # signs the brokers of all regions
AS_OWNER = "run this as root, or as the service's user"
DAY_S = 86_400


class SettingsError(ValueError):
    """A setting is missing or invalid; the message names the fix."""


class About(NamedTuple):
    """What a setting means. A number must lie between `least` and `most`."""

    text: str
    default: str = ""
    """Shown in place of the default."""
    least: float = float("-inf")
    most: float = float("inf")
    beside: bool = False
    """Whether a relative path in a settings file is relative to that file."""


@dataclass(frozen=True)
class Settings:
    """One device."""

    endpoint: Annotated[str, About("host name of the broker, ending in -ats.iot.<region>.amazonaws.com")]
    thing: Annotated[str, About("name of the thing; client id and deviceId are the same")]
    certificate: Annotated[Path, About("file of the thing's certificate (PEM)", beside=True)]
    key: Annotated[Path, About("file of its private key (PEM)", beside=True)]
    ca: Annotated[
        Path, About("file of the authority that signed the broker's certificate", "Amazon Root CA 1", beside=True)
    ] = AMAZON_ROOT_CA
    port: Annotated[int, About("the broker's port", least=1, most=65535)] = 8883
    topic: Annotated[str, About("topic to publish to")] = "things/telemetry"
    interval: Annotated[float, About("seconds between two readings", least=0.001, most=366 * DAY_S)] = 10.0
    sensor: Annotated[str, About(f"where readings come from: {', '.join(SENSORS)}")] = "simulated"
    sensor_path: Annotated[Path, About("with sensor cpu, the file of its thermal zone")] = THERMAL_ZONE
    sensor_command: Annotated[
        str, About("with sensor command, a shell command that prints one number or a JSON object of measurements")
    ] = ""
    sensor_timeout: Annotated[float, About("seconds that this command may take", least=0.1, most=DAY_S)] = 10.0
    measurements: Annotated[
        Measurements, About("what readings hold, as JSON: names, each with its type and limits", "temp, a number")
    ] = field(default_factory=lambda: Measurements(TEMPERATURE))
    # The limits are AWS IoT Core's. A dead link is noticed after about this time.
    keep_alive: Annotated[int, About("seconds between pings on an idle connection", least=5, most=1200)] = 20
    # Each wait is a random part of a time that doubles up to this.
    reconnect_max: Annotated[float, About("longest wait between two connection attempts, in seconds",
                                          least=0.5, most=DAY_S)] = 60.0  # fmt: skip
    rate_limit: Annotated[float, About("most publishes a second, 0 for no limit; AWS allows 100 per connection",
                                       least=0, most=1e6)] = 100.0  # fmt: skip
    readings_limit: Annotated[float, About("most readings a second, 0 for no limit; DynamoDB takes 1,000 of one device",
                                           least=0, most=1e6)] = 950.0  # fmt: skip
    pack: Annotated[int, About("readings in one publish; they wait until there are so many", least=1, most=1000)] = 1
    # AWS meters publishes in steps of 5 KiB: the rest is for the topic.
    pack_bytes: Annotated[int, About("largest payload of a publish of several waiting readings; 0 sends each alone",
                                     least=0, most=125_000)] = 5000  # fmt: skip
    state_dir: Annotated[Path, About("folder of the spool and the state", str(STATE_DIR), beside=True)] = field(
        default_factory=lambda: Path(os.environ.get("STATE_DIRECTORY", STATE_DIR))
    )
    # 500,000 readings take about 120 MB.
    spool_max_readings: Annotated[int, About("most readings that may wait; beyond that the oldest are dropped",
                                             least=1, most=1e12)] = 500_000  # fmt: skip
    spool_max_days: Annotated[float, About("most days that a reading may wait", least=0.001, most=36525)] = 30.0
    metrics_file: Annotated[
        Path | None, About("file of the metrics for Prometheus", "metrics.prom in state-dir", beside=True)
    ] = None
    time_url: Annotated[
        str, About("https address to compare the clock with, by the Date of its answer", "the endpoint's port 443")
    ] = ""

    def __post_init__(self) -> None:
        for name in ("certificate", "key", "ca"):
            path: Path = getattr(self, name)
            if not _is_file(name, path):
                raise SettingsError(f"{name} {path} is no file: name one by --{name} or in the settings file.")
        for name, setting in table().items():
            value, (least, most) = getattr(self, name), setting.about[2:4]
            if setting.kind in (int, float) and not least <= value <= most:
                raise SettingsError(f"{name} {value} must be {least:.10g} to {most:.10g}.")
        self._check_topic()
        if self.sensor not in SENSORS:
            raise SettingsError(f"sensor {self.sensor!r} must be one of {', '.join(SENSORS)}.")

    def _check_topic(self) -> None:
        """Apply MQTT's rules and AWS IoT Core's quotas, which do not count the prefix of Basic Ingest."""
        counted = re.sub(r"^\$aws/rules/[^/]*/", "", self.topic)
        if not counted or set(counted) & set("+#\0") or counted.count("/") > 7 or len(counted.encode()) > 256:
            raise SettingsError(
                f"topic {self.topic!r} must be 1 to 256 bytes with at most 7 slashes and neither + nor #, "
                "such as things/telemetry."
            )

    @classmethod
    def make(cls, given: Mapping[str, Any]) -> Self:
        """Check and convert the given values. Raises SettingsError."""
        known = table()
        if unknown := sorted(set(given) - set(known)):
            raise SettingsError(f"unknown setting {', '.join(unknown)}: the settings are {', '.join(sorted(known))}.")
        if missing := [name for name, setting in known.items() if setting.required and not given.get(name)]:
            flags = ", ".join(f"--{name}" for name in missing)
            raise SettingsError(f"{', '.join(missing)} missing: give {flags}, or a settings file with --config.")
        return cls(**{name: known[name].convert(value) for name, value in given.items()})


class Setting(NamedTuple):
    """A row of the table."""

    name: str
    kind: type
    about: About
    default: Any
    required: bool

    @property
    def help(self) -> str:
        """What the setting is, its default in brackets."""
        default = self.about.default or (f"{self.default:g}" if self.kind is float else str(self.default or ""))
        return f"{self.about.text} ({default})" if default and not self.required else self.about.text

    def convert(self, value: Any) -> Any:
        """Return the value in the setting's type. Raises SettingsError."""
        is_number = self.kind in (int, float)
        if isinstance(value, bool) or (self.kind is str and not isinstance(value, str)):
            raise SettingsError(f"{self.name} {value!r} must be a {'number' if is_number else 'text'}.")
        if self.kind is int and isinstance(value, float):
            raise SettingsError(f"{self.name} {value!r} must be a whole number.")
        try:
            return self.kind(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise SettingsError(f"{self.name} {str(value)[:200]!r} is not valid: {error}.") from error


@cache
def table() -> dict[str, Setting]:
    """Return all settings by name, in order."""
    hints = get_type_hints(Settings, include_extras=True)
    rows = {}
    for one in fields(Settings):
        kind, about = get_args(hints[one.name])
        rows[one.name] = Setting(
            one.name,
            get_args(kind)[0] if isinstance(kind, UnionType) else kind,
            about,
            None if one.default is MISSING else one.default,
            one.default is MISSING and one.default_factory is MISSING,
        )
    return rows


def _is_file(name: str, path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # its folder is not accessible
        raise SettingsError(f"{name} {path} is not accessible: {error.strerror}: {AS_OWNER}.") from error


def read_file(path: Path) -> dict[str, Any]:
    """Return a settings file's content, its relative paths resolved. Raises SettingsError."""
    try:
        content = tomllib.loads(path.read_text("utf-8-sig"))  # some editors begin a file with a byte order mark
    except OSError as error:
        fix = f": {AS_OWNER}" if isinstance(error, PermissionError) else ""
        raise SettingsError(f"settings file {path} cannot be read: {error.strerror}{fix}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is no TOML: {error}.") from error
    for name, setting in table().items():
        if setting.about.beside and isinstance(content.get(name), str):
            content[name] = path.parent / content[name]
    return content


def load(config: Path | None, flags: Mapping[str, Any]) -> Settings:
    """Return the settings of a file (the default one if it exists), overridden by flags that are not None."""
    given: dict[str, Any] = {}
    if config or _is_file("settings file", DEFAULT_FILE):
        given = read_file(config or DEFAULT_FILE)
    return Settings.make(given | {name: value for name, value in flags.items() if value is not None})
