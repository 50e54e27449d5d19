"""What was sent, what is stored, and how the two differ. Nothing here talks to anything."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

DAY_S = 86_400.0


@dataclass(frozen=True)
class Sent:
    """A line of the publisher's ledger. `published` is in seconds since 1970."""

    message: str
    ts: str
    temperature: Decimal
    published: float
    acknowledged: bool

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> "Sent":
        """Read a line of the ledger; numbers come as Decimal."""
        temperature = Decimal(str(line["temp"]))
        acknowledged = "acknowledged_at" in line
        return cls(line["messageId"], line["ts"], temperature, float(line["published_at"]), acknowledged)


@dataclass(frozen=True)
class Stored:
    """A row of the table."""

    time: str
    temperature: Decimal
    received_at: str

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "Stored":
        """Read an item as boto3's client returns it."""
        return cls(item["Time"]["S"], Decimal(item["temperature"]["N"]), item["received_at"]["S"])


@dataclass
class Comparison:
    """The outcome. Latencies are in seconds, from publishing to the receiver's time of receipt."""

    published: int = 0
    stored: int = 0
    missing: list[str] = field(default_factory=list)
    duplicates: int = 0
    wrong: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether every reading is there once, as it was sent."""
        return self.published > 0 and not (self.missing or self.duplicates or self.wrong)


def identity(schema: str, row: Stored) -> object:
    """Return what a row has in common with its reading.

    The schema receipt_time has no message id, so there it is the value: the publisher makes all of them differ.
    """
    return row.temperature if schema == "receipt_time" else row.time.partition("#")[2]


def fault(schema: str, reading: Sent, row: Stored) -> str | None:
    """Return how a row differs from its reading, None for not at all."""
    if row.temperature != reading.temperature:
        return f"{reading.message}: temperature {row.temperature} instead of {reading.temperature}"
    if schema == "message_time" and row.time != f"{reading.ts}#{reading.message}":
        return f"{reading.message}: key {row.time} instead of {reading.ts}#{reading.message}"
    return None


def latency(reading: Sent, row: Stored) -> float:
    """Return seconds from publishing to receipt by IoT Core; clocks that disagree make it zero at least."""
    return max(0.0, datetime.fromisoformat(row.received_at).timestamp() - reading.published)


def compare(schema: str, sent: Iterable[Sent], stored: Iterable[Stored]) -> Comparison:
    """Return how the rows of one device differ from the readings it sent. Other rows don't count."""
    rows: dict[object, list[Stored]] = defaultdict(list)
    for row in stored:
        rows[identity(schema, row)].append(row)
    outcome = Comparison()
    for reading in sent:
        outcome.published += 1
        found = rows[reading.temperature if schema == "receipt_time" else reading.message]
        if not found:
            outcome.missing.append(reading.message)
            continue
        outcome.stored += 1
        outcome.duplicates += len(found) - 1
        outcome.wrong += [text for row in found if (text := fault(schema, reading, row))]
        outcome.latencies.append(min(latency(reading, row) for row in found))
    return outcome


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share (0 to 1) of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def duration(seconds: float) -> str:
    """Return a duration as it is read."""
    if seconds < 0.0005:  # rows have whole milliseconds
        return "under 1 ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"


def table(outcome: Comparison) -> str:
    """Return the result's lines."""
    counts = f"published {outcome.published}  stored {outcome.stored}  missing {len(outcome.missing)}"
    lines = [f"{counts}  duplicates {outcome.duplicates}  wrong {len(outcome.wrong)}"]
    if outcome.latencies:
        p50, p95 = (duration(percentile(outcome.latencies, share)) for share in (0.5, 0.95))
        lines.append(f"latency   p50 {p50}  p95 {p95}, from device to IoT Core")
    return "\n".join(lines)


def idle(ages: Mapping[str, float | None]) -> str:
    """Return a notice if no device publishes, so that a path which only verify uses does not pass for a fleet."""
    if not ages:
        return "devices   none: group edge has no host that publishes, so nothing but verify's own thing did"
    if silent(ages, DAY_S) == list(ages):
        return "devices   none has stored a reading in the last day, so nothing but verify's own thing publishes"
    return ""


def devices(ages: Mapping[str, float | None]) -> str:
    """Return a line for each device: how old its newest row is, in seconds; None where it has none."""
    width = max([8, *map(len, ages)])
    texts = {name: "no row" if age is None else f"newest row {duration(age)} old" for name, age in ages.items()}
    return "\n".join(f"{name:<{width}}  {text}" for name, text in texts.items())


def silent(ages: Mapping[str, float | None], limit: float) -> list[str]:
    """Return the devices without a row of the last so many seconds."""
    return [name for name, age in ages.items() if age is None or age > limit]


def complaint(outcome: Comparison) -> str:
    """Return what is wrong, with examples."""
    parts = []
    if not outcome.published:
        parts.append("nothing was published")
    if outcome.missing:
        parts.append(f"{len(outcome.missing)} readings are no rows, such as {outcome.missing[0]}")
    if outcome.duplicates:
        parts.append(f"{outcome.duplicates} rows are duplicates")
    if outcome.wrong:
        parts.append(f"{len(outcome.wrong)} rows are wrong, such as {outcome.wrong[0]}")
    return "; ".join(parts)
