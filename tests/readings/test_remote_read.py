"""Prometheus' remote read: the samples are the table's, and a query that would read all of it is refused."""

import struct
from collections.abc import Callable
from typing import Any

import cramjam
import pytest
from iot_readings import keys, remote_read
from iot_readings.measurements import Measurement

from tests.readings.harness import START, TEMPERATURE, Make, Readings, ledger, row, store
from tests.service.harness import Table

Register = Callable[..., None]
EQUAL, UNEQUAL, MATCHES, DIFFERS = range(4)


def varint(value: int) -> bytes:
    """As protobuf writes it."""
    value &= 2**64 - 1
    written = b""
    while value > 127:
        written += bytes([value & 127 | 128])
        value >>= 7
    return written + bytes([value])


def part(number: int, content: bytes) -> bytes:
    """A field with a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def question(start: int, end: int, *matchers: tuple[int, str, str]) -> bytes:
    """A ReadRequest of one query."""
    query = b"\x08" + varint(start) + b"\x10" + varint(end)
    for kind, name, value in matchers:
        query += part(3, b"\x08" + varint(kind) + part(2, name.encode()) + part(3, value.encode()))
    return bytes(cramjam.snappy.compress_raw(part(1, query) + b"\x10\x00"))


def fields(message: bytes) -> list[tuple[int, Any]]:
    """The fields of a message."""
    return list(remote_read._fields(message))


def told(body: bytes, *own: bytes) -> list[dict[tuple[str, ...], list[tuple[int, float]]]]:
    """The series of each result: samples by the values of their labels."""
    results = []
    for _, result in fields(bytes(cramjam.snappy.decompress_raw(body))):
        series = {}
        for _, one in fields(result):
            labels = [dict(fields(content)) for number, content in fields(one) if number == 1]
            assert [label[1] for label in labels] == [b"__name__", *own, b"deviceId"]
            samples = [dict(fields(content)) for number, content in fields(one) if number == 2]
            series[tuple(label[2].decode() for label in labels)] = [
                (sample[2], struct.unpack("<d", sample[1])[0]) for sample in samples
            ]
        results.append(series)
    return results


async def read(readings: Readings, body: bytes, *own: bytes) -> list[dict[tuple[str, ...], list[tuple[int, float]]]]:
    """Ask, and read the answer."""
    response = await readings.client.post("/api/v1/read", data=body)
    assert response.status == 200, await response.text()
    assert response.headers["Content-Encoding"] == "snappy"
    return told(await response.read(), *own)


async def test_samples_are_the_rows_oldest_first(readings: Readings, table: Table) -> None:
    rows = ledger("d1", 2_300)
    store(table, rows)
    temperature = ("__name__", "iot_reading_temperature")
    asked = question(START + 1_000, START + 2_200_000, (EQUAL, *temperature), (EQUAL, "deviceId", "d1"))
    assert await read(readings, asked) == [
        {("iot_reading_temperature", "d1"): [
            (START + number * 1_000, float(rows[number]["temperature"]["N"])) for number in range(1, 2_201)
        ]}
    ]  # fmt: skip


async def test_one_metric_a_measurement_and_one_series_a_device(
    make_readings: Make, register: Register, table: Table
) -> None:
    register("d1", "d2", "e1")
    readings = await make_readings(measurements=(TEMPERATURE, Measurement("humidity"), Measurement("mode", "string")))
    await readings.complete()
    store(table, [row("d1", START, "1", humidity={"N": "50"}, mode={"S": "on"}), row("d1", START, "2", "n"),
                  row("d2", START + 1, "3"), row("e1", START, "4")])  # fmt: skip
    asked = question(START, START + 10, (MATCHES, "deviceId", "(d1|d2)"), (MATCHES, "__name__", "iot_reading_.+"))
    assert await read(readings, asked) == [
        {("iot_reading_temperature", "d1"): [(START, 2)], ("iot_reading_humidity", "d1"): [(START, 50)],
         ("iot_reading_temperature", "d2"): [(START + 1, 3)]}
    ]  # fmt: skip
    asked = question(START, START + 10, (MATCHES, "deviceId", "d.*|.x"), (UNEQUAL, "deviceId", "d1"))
    assert await read(readings, asked) == [{("iot_reading_temperature", "d2"): [(START + 1, 3)]}]


async def test_series_bear_the_deployment_and_anothers_are_not_answered(
    make_readings: Make, register: Register, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    register("d1")
    readings = await make_readings(deployment="staging")
    await readings.complete()
    store(table, [row("d1", START, "1")])
    name, device = (EQUAL, "__name__", "iot_reading_temperature"), (EQUAL, "deviceId", "d1")
    registered, everything = (EQUAL, "__name__", "iot_registered_device"), (MATCHES, "__name__", "iot_.+")
    for own in ((), ((EQUAL, "deployment", "staging"),)):
        answer = await read(readings, question(START, START, name, device, *own), b"deployment")
        assert answer == [{("iot_reading_temperature", "staging", "d1"): [(START, 1)]}]
        answer = await read(readings, question(START, START, registered, *own), b"deployment")
        assert answer == [{("iot_registered_device", "staging", "d1"): [(START, 1)]}]
    monkeypatch.setattr(readings.app[keys.TABLE], "_url", "http://127.0.0.1:9/")
    for asked in ((name, device), (registered,), (everything,)):  # the last names no device, which is no fault of ours
        assert await read(readings, question(START, START, *asked, (EQUAL, "deployment", "prod"))) == [{}]


async def test_devices_to_choose_from_are_the_registrys_and_cost_no_read(
    readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings.app[keys.TABLE], "_url", "http://127.0.0.1:9/")
    asked = (EQUAL, "__name__", "iot_registered_device")
    assert await read(readings, question(0, START, asked)) == [
        {("iot_registered_device", name): [(START, 1)] for name in ("d1", "d2", "d3")}
    ]
    chosen = question(0, START, asked, (MATCHES, "deviceId", "d1|d3"))
    assert [name for _, name in (await read(readings, chosen))[0]] == ["d1", "d3"]
    monkeypatch.setattr(remote_read, "MOST_NAMES", 2)
    response = await readings.client.post("/api/v1/read", data=question(0, START, asked))
    assert (response.status, (await response.json())["detail"][:15]) == (400, "3 devices match")


@pytest.mark.parametrize(
    "matchers",
    [
        [(EQUAL, "__name__", "up"), (EQUAL, "deviceId", "d1")],
        [(EQUAL, "deviceId", "d1"), (EQUAL, "site", "north")],
        [(EQUAL, "deviceId", "d1"), (DIFFERS, "__name__", "iot_.*")],
    ],
)
async def test_other_metrics_are_not_ours_and_cost_nothing(
    readings: Readings, table: Table, matchers: list[tuple[int, str, str]]
) -> None:
    store(table, ledger("d1", 3))
    assert (await read(readings, question(START, START + 10_000, *matchers)))[0] == {}


async def test_queries_of_prometheus_own_metrics_need_no_device(readings: Readings) -> None:
    before = readings.app[keys.TABLE].usage.queries
    assert await read(readings, question(0, START, (EQUAL, "__name__", "up"))) == [{}]
    assert readings.app[keys.TABLE].usage.queries - before <= 3  # those of the sweep


@pytest.mark.parametrize(
    ("matchers", "reason"),
    [
        ([(EQUAL, "__name__", "iot_reading_temperature")], "choose devices"),
        ([(MATCHES, "deviceId", ".*")], "choose devices"),
        ([(UNEQUAL, "deviceId", "d1")], "choose devices"),
        ([(MATCHES, "deviceId", "(a+)+b")], "names separated by"),
        ([(MATCHES, "deviceId", ".*.*.*x")], "names separated by"),
        ([(MATCHES, "deviceId", "x" * 5_000)], "at most 4096"),
    ],
)
async def test_a_query_of_the_whole_table_is_refused(
    readings: Readings, matchers: list[tuple[int, str, str]], reason: str
) -> None:
    response = await readings.client.post("/api/v1/read", data=question(0, START, *matchers))
    assert response.status == 400
    assert reason in (await response.json())["detail"]


async def test_too_many_devices_or_samples_are_refused(
    readings: Readings, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_read, "MOST_DEVICES", 2)
    response = await readings.client.post("/api/v1/read", data=question(0, START, (MATCHES, "deviceId", ".+")))
    assert (await response.json())["detail"].startswith("3 devices match")
    monkeypatch.setattr(remote_read, "MOST_SAMPLES", 5)
    store(table, ledger("d1", 6))
    response = await readings.client.post("/api/v1/read", data=question(0, START * 2, (EQUAL, "deviceId", "d1")))
    assert (response.status, "narrow the time" in (await response.json())["detail"]) == (400, True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not snappy",
        bytes(cramjam.snappy.compress_raw(b"\xff" * 20)),
        bytes(cramjam.snappy.compress_raw(b"\x0a\x7f\x08")),
        bytes(cramjam.snappy.compress_raw(part(1, part(3, b"\x08\x09")))),
        b"\xff\xff\xff\xff\x0f" + b"x" * 50,
    ],
)
async def test_what_is_no_request_is_400(readings: Readings, body: bytes) -> None:
    response = await readings.client.post("/api/v1/read", data=body)
    assert response.status == 400
