"""What a reading holds beside its device and time, as the deployment declares it."""

from dataclasses import dataclass
from typing import Any

import msgspec

NUMERIC = frozenset({"number", "integer"})


@dataclass(frozen=True, slots=True)
class Measurement:
    """One attribute of a row, by whose name the API knows it.

    Attributes:
        name: the row's attribute, such as "temperature".
        type: number, integer, boolean or string.
        unit: what its numbers count, such as "°C"; may be empty.
    """

    name: str
    type: str = "number"
    unit: str = ""

    @property
    def numeric(self) -> bool:
        """Whether it has a minimum, a mean and a maximum."""
        return self.type in NUMERIC


def declared(text: str) -> tuple[Measurement, ...]:
    """Read the deployment's variable `measurements`: by a message's member, the attribute, its type and unit.

    Raises:
        ValueError: with what is expected, when it is none.
    """
    try:
        given: dict[str, dict[str, Any]] = msgspec.json.decode(text, type=dict[str, dict[str, Any]])
        measurements = tuple(
            Measurement(str(each["attribute"]), str(each.get("type", "number")), str(each.get("unit", "")))
            for each in given.values()
        )
    except (msgspec.DecodeError, KeyError):
        measurements = ()
    if not measurements or not all(each.type in NUMERIC | {"boolean", "string"} for each in measurements):
        raise ValueError('measurements in JSON such as {"temp": {"attribute": "temperature", "type": "number"}}')
    return measurements
