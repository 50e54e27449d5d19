"""Who a simulation publishes as: one thing, a gateway with many devices behind it, or many things with kits."""

import contextlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from iot_device.settings import Settings, SettingsError, read_file

KIT_SETTINGS = "iot-device.toml"


@dataclass(frozen=True)
class Identity:
    """A connection, and the devices that publish through it."""

    settings: Settings
    devices: list[str]


def behind_one(settings: Settings, devices: int) -> Identity:
    """Return the thing itself, or the thing as a gateway for devices named after it."""
    names = [settings.thing] if devices == 1 else [f"{settings.thing}-{n}" for n in range(1, devices + 1)]
    return Identity(settings, names)


@contextlib.contextmanager
def of_kits(folder: Path, devices: int) -> Iterator[list[Identity]]:
    """Yield an identity for each of the first `devices` kits of a folder, unpacked or zips, in order of name.

    Raises SettingsError if there are too few.
    """
    found = sorted(
        path for path in folder.iterdir() if path.suffix == ".zip" or (path / KIT_SETTINGS).is_file()
    ) if folder.is_dir() else []  # fmt: skip
    if len(found) < devices:
        raise SettingsError(f"{folder} has {len(found)} kits, {devices} are needed: role device_kit makes them.")
    with TemporaryDirectory(prefix="iot-device-kits-") as scratch:
        yield [_identity(path, Path(scratch)) for path in found[:devices]]


def _identity(path: Path, scratch: Path) -> Identity:
    folder = path
    if path.suffix == ".zip":
        folder = scratch / path.stem
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if "/" not in name and ".." not in name]
                archive.extractall(folder, names)
        except (zipfile.BadZipFile, RuntimeError) as error:  # the latter where it is encrypted
            raise SettingsError(f"{path} can't be unpacked: {error}.") from error
    settings = Settings.make(read_file(folder / KIT_SETTINGS))
    return Identity(settings, [settings.thing])
