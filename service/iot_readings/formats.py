"""Readings as JSON, NDJSON and CSV (RFC 4180)."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from iot_readings.measurements import Measurement
from iot_readings.readings import Reading

MEDIA = {"json": "application/json", "csv": "text/csv", "ndjson": "application/x-ndjson"}
Documents = Iterable[Mapping[str, Any]]
Write = Callable[[Documents], bytes]

encode = msgspec.json.Encoder().encode


def ndjson(documents: Documents) -> bytes:
    """One document a line."""
    return b"".join(encode(document) + b"\n" for document in documents)


def csv_rows(rows: Iterable[Sequence[object]]) -> bytes:
    """Lines of CSV, each ended by CR LF; a value that is missing is empty."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def reading_head(measurements: Iterable[Measurement]) -> bytes:
    """The first line of readings as CSV."""
    return csv_rows([["deviceId", "time", "messageId", "receivedAt", *(each.name for each in measurements)]])


def reading_rows(readings: Iterable[Reading], measurements: Sequence[Measurement]) -> bytes:
    """Readings as CSV."""
    return csv_rows(
        [
            each.device,
            each.time,
            each.message_id,
            each.received_at,
            *(_cell(each.values.get(measurement.name)) for measurement in measurements),
        ]
        for each in readings
    )


def bucket_head(measurements: Iterable[Measurement]) -> bytes:
    """The first line of downsampled readings as CSV."""
    columns = (f"{each.name}_{of}" for each in measurements for of in ("min", "mean", "max"))
    return csv_rows([["deviceId", "time", "count", *columns]])


def bucket_rows(device: str, documents: Documents, measurements: Sequence[Measurement]) -> bytes:
    """Downsampled readings as CSV."""
    return csv_rows(
        [
            device,
            each["time"],
            each["count"],
            *(
                each["values"].get(measurement.name, {}).get(of)
                for measurement in measurements
                for of in ("min", "mean", "max")
            ),
        ]
        for each in documents
    )


def device_rows(documents: Documents) -> bytes:
    """Devices as CSV, with its first line."""
    head = ["deviceId", "state", "ageSeconds", "usualIntervalSeconds", "lastTime"]
    rows = [[*(each[name] for name in head[:-1]), each["last"]["time"] if each["last"] else None] for each in documents]
    return csv_rows([head, *rows])


def _cell(value: object) -> object:
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    return value
