"""What a reading holds beside its device and time, as the deployment declares it."""

from dataclasses import dataclass

from iot_receiver.measurements import declared

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


def shown(text: str) -> tuple[Measurement, ...]:
    """Read the deployment's variable `measurements` as the receiver does.

    Raises:
        ValueError: with every fault, and what is expected instead.
    """
    return tuple(Measurement(each.attribute, each.type, each.unit or "") for each in declared(text).values())
