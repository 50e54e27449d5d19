"""Prometheus' remote read (https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/).

PromQL and Grafana see readings as they see any metric: `iot_reading_<measurement>{deployment="…",deviceId="…"}`. The
devices to choose from are `iot_registered_device`: a sample of 1 for each, at the end of the query's time. It reads no
row. A Prometheus that several deployments share tells them apart by `deployment`.

The messages are few and settled, so they are read and written here, by prometheus/prompb/remote.proto and types.proto
and protobuf's encoding (https://protobuf.dev/programming-guides/encoding/), instead of by its runtime.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cramjam
from aiohttp import web
from iot_receiver.problems import problem

from iot_readings import keys
from iot_readings.measurements import Measurement
from iot_readings.readings import iso, milliseconds
from iot_readings.table import Item

PREFIX = "iot_reading_"
REGISTERED = "iot_registered_device"
DEPLOYMENT = "deployment"
DEVICE = "deviceId"
MOST_BYTES = 65_536  # of a request
MOST_UNPACKED = 1_000_000  # the same, unpacked
MOST_DEVICES = 50  # of one query for readings
MOST_NAMES = 10_000  # of one query for devices
MOST_SAMPLES = 200_000  # of one query: about 5,000 read units
LONGEST_PATTERN = 4_096
EQUAL, UNEQUAL, MATCHES, DIFFERS = range(4)
VARINT, FIXED64, BYTES = 0, 1, 2
_LITERALS = r"(?:[^\\.+*?()|\[\]{}^$]|\\[^A-Za-z0-9]|\.(?![*+?{]))*+"
_NAME = rf"{_LITERALS}(?:\.[*+]{_LITERALS}){{0,2}}"
_NAMES = re.compile(rf"{_NAME}(?:\|{_NAME})*", re.DOTALL)


class QueryError(ValueError):
    """A query can't be answered; the text names the fix."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label."""

    kind: int
    name: str
    value: str

    def holds(self, value: str) -> bool:
        """Whether a label's value fulfils it; a label that is missing is empty."""
        if self.kind in {EQUAL, UNEQUAL}:
            return (value == self.value) is (self.kind == EQUAL)
        return bool(re.fullmatch(self.value, value)) is (self.kind == MATCHES)


@dataclass(slots=True)
class Query:
    """One query: from `start` to `end`, both included, in milliseconds since 1970."""

    start: int = 0
    end: int = 0
    matchers: list[Matcher] = field(default_factory=list)


def metric(measurement: Measurement) -> str:
    """The metric that a measurement becomes."""
    return PREFIX + re.sub(r"[^A-Za-z0-9_]", "_", measurement.name)


async def post(request: web.Request) -> web.StreamResponse:
    """POST /api/v1/read."""
    try:
        body = await request.content.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            return problem(413, f"a request has at most {MOST_BYTES} bytes")
        queries = parse(_unpacked(body))
        results = b"".join([_field(1, await _result(request.app, query)) for query in queries])
    except QueryError as error:
        return problem(400, str(error))
    except (cramjam.DecompressionError, ValueError, IndexError):
        return problem(400, "this is no remote read request: protobuf in snappy's block format")
    return web.Response(
        body=bytes(cramjam.snappy.compress_raw(results)),
        headers={"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"},
    )


async def _result(app: web.Application, query: Query) -> bytes:
    """A QueryResult: a series for each device and measurement that the matchers choose."""
    if Matcher(EQUAL, "__name__", REGISTERED) in query.matchers:
        return _registered(app, query)
    chosen = [
        each
        for each in app[keys.SETTINGS].measurements
        if each.numeric and _fulfilled(query.matchers, _labels(app, metric(each)), {"__name__", DEPLOYMENT})
    ]
    if not chosen:
        return b""
    series: list[bytes] = []
    left = MOST_SAMPLES
    for device in _devices(app, query):
        numbers: list[list[tuple[int, float]]] = [[] for _ in chosen]
        pages = app[keys.TABLE].rows(device, iso(query.start)[:-1], iso(query.end + 1)[:-1], newest_first=False)
        async for items in pages:
            left -= len(items)
            if left < 0:
                raise QueryError(f"more than {MOST_SAMPLES} readings: narrow the time, or choose fewer devices")
            _collect(numbers, items, chosen)
        for measurement, samples in zip(chosen, numbers, strict=True):
            labels = _labels(app, metric(measurement)) | {DEVICE: device}
            if samples and _fulfilled(query.matchers, labels):
                series.append(_field(1, _series(labels, samples)))
    return b"".join(series)


def _labels(app: web.Application, name: str) -> dict[str, str]:
    """What all series of a metric have; Prometheus takes an empty label for none."""
    return {"__name__": name} | ({DEPLOYMENT: app[keys.SETTINGS].deployment} if app[keys.SETTINGS].deployment else {})


def _registered(app: web.Application, query: Query) -> bytes:
    labelled = (_labels(app, REGISTERED) | {DEVICE: name} for name in app[keys.FLEET].names)
    chosen = [labels for labels in labelled if _fulfilled(query.matchers, labels)]
    if len(chosen) > MOST_NAMES:
        raise QueryError(f'{len(chosen)} devices match: choose {MOST_NAMES} at most, by {DEVICE}=~"…"')
    return b"".join(_field(1, _series(labels, [(query.end, 1.0)])) for labels in chosen)


def _devices(app: web.Application, query: Query) -> Sequence[str]:
    """The devices that a query names; a query that names none would read the whole table.

    Raises:
        QueryError: when it names none, or too many.
    """
    matchers = [each for each in query.matchers if each.name == DEVICE]
    for each in matchers:
        if each.kind == EQUAL and each.value:
            return [each.value]
    if not any(each.kind == MATCHES and not each.holds("") for each in matchers):
        raise QueryError(f'choose devices: {DEVICE}="…", or {DEVICE}=~"…" for at most {MOST_DEVICES}')
    names = [name for name in app[keys.FLEET].names if all(each.holds(name) for each in matchers)]
    if len(names) > MOST_DEVICES:
        raise QueryError(f"{len(names)} devices match: a query may choose {MOST_DEVICES} at most")
    return names


def _fulfilled(matchers: Sequence[Matcher], labels: dict[str, str], names: set[str] | None = None) -> bool:
    return all(each.holds(labels.get(each.name, "")) for each in matchers if names is None or each.name in names)


def _collect(numbers: list[list[tuple[int, float]]], items: Sequence[Item], chosen: Sequence[Measurement]) -> None:
    """Add rows, oldest first; of readings of one millisecond the last counts, since a series has one sample a time."""
    for item in items:
        try:
            moment = milliseconds((item["Time"].S or "").partition("#")[0])
        except ValueError:
            continue  # a key that the receiver never writes
        for samples, measurement in zip(numbers, chosen, strict=True):
            value = item.get(measurement.name)
            if value is not None and value.N is not None:
                if samples and samples[-1][0] == moment:
                    samples.pop()
                samples.append((moment, float(value.N)))


# --- Messages


def _unpacked(body: bytes) -> bytes:
    if _varint(body, 0)[0] > MOST_UNPACKED:  # snappy's block format begins with it
        raise ValueError("too long")
    return bytes(cramjam.snappy.decompress_raw(body))


def parse(message: bytes) -> list[Query]:
    """Read a ReadRequest.

    Raises:
        ValueError, IndexError: when it is none.
        QueryError: when a regular expression can't be read.
    """
    queries = []
    for number, value in _fields(message):
        if number != 1 or not isinstance(value, bytes):
            continue  # the kinds of answer that are accepted: samples are always among them
        query = Query()
        for part, given in _fields(value):
            if part == 1 and isinstance(given, int):
                query.start = _signed(given)
            elif part == 2 and isinstance(given, int):
                query.end = _signed(given)
            elif part == 3 and isinstance(given, bytes):
                query.matchers.append(_matcher(given))
        try:
            iso(query.start), iso(query.end + 1)
        except OverflowError:
            raise QueryError("the time must be within the years 1 to 9999") from None
        queries.append(query)
    return queries


def _matcher(message: bytes) -> Matcher:
    kind, texts = EQUAL, {2: "", 3: ""}
    for number, value in _fields(message):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number in texts and isinstance(value, bytes):
            texts[number] = value.decode()
    if kind not in range(4):
        raise ValueError("no kind of matcher")
    if kind in {MATCHES, DIFFERS}:
        try:
            texts[3] = _pattern(texts[3])
        except ValueError as error:
            raise QueryError(f"{texts[2]}: {error}") from None
    return Matcher(kind, texts[2], texts[3])


def _pattern(text: str) -> str:
    """Check a regular expression: names with wildcards, separated by "|", as Grafana writes the values of a variable.

    Prometheus' own are matched in linear time; Python's, of any kind, could keep this process busy for hours.

    Raises:
        ValueError: when it is of another kind.
    """
    if len(text) > LONGEST_PATTERN:
        raise ValueError(f"a regular expression has at most {LONGEST_PATTERN} characters here")
    inner = text[1:-1] if text.startswith("(") and text.endswith(")") else text
    if not _NAMES.fullmatch(inner):
        raise ValueError("a regular expression may be names separated by |, each with at most two of .* and .+")
    return inner


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        if tag & 7 == VARINT:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        if tag & 7 == BYTES:
            length, place = _varint(message, place)
        elif tag & 7 == FIXED64:
            length = 8
        else:
            raise ValueError("a wire type that these messages never have")
        if place + length > len(message):
            raise ValueError("cut off")
        yield tag >> 3, message[place : place + length]
        place += length


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
        if shift > 63:
            raise ValueError("too long")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _written(value: int) -> bytes:
    value &= (1 << 64) - 1
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _field(number: int, content: bytes) -> bytes:
    return b"%b%b%b" % (_written(number << 3 | BYTES), _written(len(content)), content)


def _series(labels: dict[str, str], samples: Sequence[tuple[int, float]]) -> bytes:
    """A TimeSeries; labels are in order of their names, as Prometheus needs them."""
    named = [_field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in sorted(labels.items())]
    numbers = [_field(2, b"\x09%b\x10%b" % (struct.pack("<d", value), _written(moment))) for moment, value in samples]
    return b"".join([*named, *numbers])
