"""Where readings come from."""

import math
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

from iot_device.settings import Settings, SettingsError

Sensor = Callable[[], float]
"""Returns degrees Celsius. Raises OSError when there is nothing to read."""


def simulated() -> Sensor:
    """Return a sensor that wanders around 21 degrees like a room's."""
    temperature = 21.0

    def read() -> float:
        nonlocal temperature
        temperature += random.uniform(-0.2, 0.2) + (21.0 - temperature) * 0.02  # noqa: S311 - a made-up temperature, no secret
        return round(temperature, 2)

    return read


def ramp(start: float = 20.0, step: float = 0.01, count: int = 4000) -> Sensor:
    """Return a sensor whose readings all differ for a while, so that rows can be told apart by value too."""
    number = -1

    def read() -> float:
        nonlocal number
        number = (number + 1) % count
        return round(start + number * step, 2)

    return read


def cpu(path: Path) -> Sensor:
    """Return the sensor of a thermal zone, which gives thousandths of a degree.

    https://www.kernel.org/doc/Documentation/thermal/sysfs-api.txt
    """

    def read() -> float:
        try:
            return int(path.read_text()) / 1000
        except ValueError as error:
            raise OSError(f"{path} holds no whole number") from error

    return read


def command(line: str, timeout: float) -> Sensor:
    """Return a sensor that runs a shell's command line, which prints a number of degrees; it may take `timeout` s."""

    def read() -> float:
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", line],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise OSError(f"{line!r} did not end within {timeout:g} s") from error
        words = done.stdout.split()
        try:
            value = float(words[0]) if done.returncode == 0 and len(words) == 1 else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            said = (done.stderr.strip() or done.stdout.strip())[-200:]
            raise OSError(f"{line!r} gave no number but {said!r}, with status {done.returncode}")
        return value

    return read


def make(settings: Settings) -> Sensor:
    """Return the sensor that the settings name. Raises SettingsError."""
    if settings.sensor == "cpu":
        return cpu(settings.sensor_path)
    if settings.sensor == "command":
        if not settings.sensor_command:
            raise SettingsError("sensor command needs sensor_command: a command line that prints degrees Celsius.")
        return command(settings.sensor_command, settings.sensor_timeout)
    return simulated()
