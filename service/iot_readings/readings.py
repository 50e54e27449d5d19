"""From rows to readings, and from many readings to few: minimum, mean and maximum of equal spans of time."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from iot_readings.measurements import Measurement
from iot_readings.table import Item

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

Shown = msgspec.Raw | str | bool  # a number stays the text that DynamoDB gave: a float would change it


@dataclass(slots=True)
class Reading:
    """One row.

    Attributes:
        device: its deviceId.
        key: its sort key, `time` and what tells readings of one instant apart.
        time: RFC 3339, UTC.
        message_id: the part of the key after "#"; None in a table that is keyed by receipt.
        received_at: when the receiver took it, RFC 3339; None when the row does not say.
        values: by measurement.
        clock_skew_ms: by how much its time is off, when the receiver found it can't be right.
    """

    device: str
    key: str
    time: str
    message_id: str | None
    received_at: str | None
    values: dict[str, Shown]
    clock_skew_ms: int | None = None

    def document(self) -> dict[str, Any]:
        """The reading as the API writes it."""
        document: dict[str, Any] = {
            "deviceId": self.device,
            "time": self.time,
            "messageId": self.message_id,
            "receivedAt": self.received_at,
            "values": self.values,
        }
        if self.clock_skew_ms is not None:
            document["clockSkewMs"] = self.clock_skew_ms
        return document


def reading(device: str, item: Item, measurements: Iterable[Measurement]) -> Reading:
    """Read a row; attributes that no measurement declares are left out."""
    key = item["Time"].S or ""
    time, separator, message = key.partition("#")
    values: dict[str, Shown] = {}
    for each in measurements:
        value = item.get(each.name)
        if value is None:
            continue
        if value.N is not None:
            values[each.name] = msgspec.Raw(value.N.encode())
        elif value.S is not None:
            values[each.name] = value.S
        elif value.BOOL is not None:
            values[each.name] = value.BOOL
    received, skew = item.get("received_at"), item.get("clock_skew_ms")
    return Reading(
        device,
        key,
        time,
        message if separator else None,
        received.S if received else None,
        values,
        int(skew.N) if skew and skew.N else None,
    )


def number(value: Shown | None) -> float | None:
    """A measured number as a float, for what is drawn and averaged; None for anything else."""
    return float(bytes(value)) if isinstance(value, msgspec.Raw) else None


def milliseconds(time: str) -> int:
    """Milliseconds since 1970 of an RFC 3339 time in UTC, rounded down.

    Raises:
        ValueError: when it is none.
    """
    moment = datetime.fromisoformat(time)
    if moment.tzinfo is None:
        raise ValueError("a time without an offset")
    return (moment - _EPOCH) // _MILLISECOND


def iso(ms: int) -> str:
    """Milliseconds since 1970 as the table's keys write them."""
    return (_EPOCH + ms * _MILLISECOND).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


@dataclass(slots=True)
class Bucket:
    """The readings of one span of time.

    Attributes:
        start: of the span, milliseconds since 1970, a multiple of the step.
        count: readings in it.
        values: the numbers in it, by measurement.
    """

    start: int
    count: int
    values: dict[str, list[float]]

    def document(self) -> dict[str, Any]:
        """The bucket as the API writes it."""
        values = {
            name: {"min": min(numbers), "mean": math.fsum(numbers) / len(numbers), "max": max(numbers)}
            for name, numbers in self.values.items()
            if numbers
        }
        return {"time": iso(self.start), "count": self.count, "values": values}


def gather(buckets: list[Bucket], items: Sequence[Item], step: int, names: Sequence[str]) -> None:
    """Add rows, newest first, to buckets of `step` milliseconds that came before them."""
    for item in items:
        key = item["Time"].S or ""
        try:
            moment = milliseconds(key.partition("#")[0])
        except ValueError:
            continue  # a key that the receiver never writes
        start = moment - moment % step
        if not buckets or buckets[-1].start != start:
            buckets.append(Bucket(start, 0, {name: [] for name in names}))
        bucket = buckets[-1]
        bucket.count += 1
        for name in names:
            value = item.get(name)
            if value is not None and value.N is not None:
                bucket.values[name].append(float(value.N))
