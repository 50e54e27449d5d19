"""Where readings come from."""

import random
from collections.abc import Callable

Sensor = Callable[[], float]
"""Returns degrees Celsius. Raises OSError when there is nothing to read."""


def simulated() -> Sensor:
    """Return a sensor that wanders around 21 degrees like a room's."""
    temperature = 21.0

    def read() -> float:
        nonlocal temperature
        temperature += random.uniform(-0.2, 0.2) + (21.0 - temperature) * 0.02  # noqa: S311 - weather, not a secret
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


SENSORS: dict[str, Callable[[], Sensor]] = {"simulated": simulated}
