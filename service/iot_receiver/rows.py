"""A row as values, and as the bytes that DynamoDB takes."""

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from iot_receiver.measurements import Measurement, Measurements, Value

Item = dict[str, dict[str, Any]]  # as DynamoDB writes it
OF_RECEIPT = frozenset({"received_at", "ttl", "clock_skew_ms"})


class _Put(msgspec.Struct, rename="pascal"):
    item: Item


class _Write(msgspec.Struct, rename="pascal"):
    put_request: _Put


_decode = msgspec.json.Decoder(_Write).decode
_encode = msgspec.json.Encoder().encode
_device = lru_cache(maxsize=8_192)(_encode)  # a fleet's ids repeat


class Row(msgspec.Struct, eq=False, gc=False):
    """One item of the table.

    Attributes:
        device_id, time: its key.
        values: what was measured, in the order of the declared set.
        received_at: when IoT Core received it, or else the receiver; UTC ISO-8601 in milliseconds.
        skew_ms: how far the message's own time is ahead of receipt (below 0: behind it) when it can't be right.
        trace_id: IoT Core's id of the message when the key does not follow from the message: a redrive finds the row
            by it.
        expires: the row's ttl, in seconds since 1970.
        late: it was taken so long before that it may have been sent, and stored, already.
    """

    device_id: str
    time: str
    values: tuple[Value, ...]
    received_at: str
    skew_ms: int | None = None
    trace_id: str | None = None
    expires: int | None = None
    late: bool = False


class RowWriter:
    """Writes rows of a declared set as PutRequests of BatchWriteItem, in JSON."""

    def __init__(self, measurements: Measurements) -> None:
        self._attributes = [_attribute(measurement) for measurement in measurements.values()]

    def put(self, row: Row) -> bytes:
        """Write one row."""
        if len(row.values) == 1:
            measured = self._attributes[0](row.values[0])
        else:
            measured = b"".join([write(value) for write, value in zip(self._attributes, row.values, strict=True)])
        members = b""
        if row.skew_ms is not None:
            members = b',"clock_skew_ms":{"N":"%d"}' % row.skew_ms
        if row.trace_id is not None:
            members += b',"trace_id":{"S":%b}' % _encode(row.trace_id)
        if row.expires is not None:
            members += b',"ttl":{"N":"%d"}' % row.expires
        return b'{"PutRequest":{"Item":{"deviceId":{"S":%b},"Time":{"S":%b},%b"received_at":{"S":"%b"}%b}}}' % (
            _device(row.device_id),
            _encode(row.time),
            measured,
            row.received_at.encode(),
            members,
        )


def is_same_reading(put: bytes, stored: Item) -> bool:
    """Say whether a PutRequest and a stored item differ by their receipt at most."""
    return _reading(_decode(put).put_request.item) == _reading(stored)


def _reading(item: Item) -> dict[str, object]:
    return {
        name: Decimal(value["N"]) if "N" in value else value for name, value in item.items() if name not in OF_RECEIPT
    }


def _attribute(measurement: Measurement) -> Callable[[Value], bytes]:
    kind = {"string": "S", "boolean": "BOOL"}.get(measurement.type, "N")
    head = f'"{measurement.attribute}":{{"{kind}":'.encode()
    quote = b'"' if kind == "N" else b""  # a number is text already, and has nothing to escape

    def write(value: Value) -> bytes:
        if value is None:
            return b""
        return b"%b%b%b%b}," % (head, quote, str(value).encode() if quote else _encode(value), quote)

    # A fleet's values repeat; texts may be long.
    return write if kind == "S" else lru_cache(maxsize=8_192)(write)
