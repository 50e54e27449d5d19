"""What the publisher is told: by a TOML file, and by flags that win over it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

DEFAULT_FILE = Path("/etc/iot-device/iot-device.toml")
AMAZON_ROOT_CA = Path(__file__).with_name("AmazonRootCA1.pem")  # signs the brokers of all regions


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
    keep_alive: int = 20
    """Seconds between signs of life on an idle connection: a dead link shows after about as long."""

    def __post_init__(self) -> None:
        for name in ("certificate", "key", "ca"):
            path: Path = getattr(self, name)
            if not path.is_file():
                raise SettingsError(
                    f"{name} {path} is no file: say where it is, by --{name} or in the settings file."
                )
        if not 0 < self.port < 65536:
            raise SettingsError(
                f"port {self.port} must be between 1 and 65535; AWS IoT Core listens on 8883."
            )
        if self.interval <= 0:
            raise SettingsError(f"interval {self.interval} must be a number of seconds above 0.")
        if not 5 <= self.keep_alive <= 1200:
            raise SettingsError(
                f"keep_alive {self.keep_alive} must be 5 to 1200 seconds (AWS IoT Core's limit)."
            )

    @classmethod
    def make(cls, given: Mapping[str, Any]) -> Self:
        """Check and convert what was given. Raises SettingsError."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise SettingsError(
                f"unknown setting {', '.join(unknown)}: the settings are {', '.join(sorted(known))}."
            )
        if missing := [name for name in ("endpoint", "thing", "certificate", "key") if not given.get(name)]:
            flags = ", ".join(f"--{name}" for name in missing)
            raise SettingsError(
                f"{', '.join(missing)} missing: give {flags}, or a settings file with --config."
            )
        converted = {name: _convert(name, value) for name, value in given.items()}
        return cls(**converted)


_KINDS: dict[str, Any] = {
    "certificate": Path,
    "key": Path,
    "ca": Path,
    "port": int,
    "interval": float,
    "keep_alive": int,
}


def _convert(name: str, value: Any) -> Any:
    kind = _KINDS.get(name, str)
    if isinstance(value, bool) or (kind is str and not isinstance(value, str)):
        raise SettingsError(f"{name} {value!r} must be a {'text' if kind is str else 'number'}.")
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        raise SettingsError(f"{name} {value!r} is not valid: {error}.") from error


def read_file(path: Path) -> dict[str, Any]:
    """Return a settings file's content, its relative paths resolved. Raises SettingsError."""
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"settings file {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is no TOML: {error}.") from error
    for name in ("certificate", "key", "ca"):
        if isinstance(content.get(name), str):
            content[name] = path.parent / content[name]
    return content


def load(config: Path | None, flags: Mapping[str, Any]) -> Settings:
    """Return the settings of a file (the default one if it is there) and the flags that were given."""
    given: dict[str, Any] = {}
    if config or DEFAULT_FILE.is_file():
        given = read_file(config or DEFAULT_FILE)
    return Settings.make(given | {name: value for name, value in flags.items() if value is not None})
