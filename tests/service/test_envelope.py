"""Payloads in the rule's envelope: each reading is a row or a dead letter with the very bytes that were sent."""

import json
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from iot_receiver.messages import Rejection
from iot_receiver.rows import Row

from tests.service.harness import REGION, Make, Receiver, Table
from tests.service.test_messages import item, one, parser

AT = "2026-01-31T12:00:00.123Z"
READING = {"deviceId": "d", "temp": 21.5, "ts": AT, "messageId": "m1"}


def envelope(payload: Any, client: str | None = "d", trace: str | None = "t-1", **members: Any) -> dict[str, Any]:
    """What the rule forwards of a payload, given as bytes or as JSON's content."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    said = {"iot_received_at": 1769860800456, "iot_trace_id": trace, "iot_client_id": client, **members}
    return {"iot_payload": b64encode(raw).decode(), **said}


def body(*payloads: Any) -> bytes:
    return json.dumps([envelope(payload) for payload in payloads]).encode()


@pytest.fixture
def queue(aws: None) -> Iterator[tuple[Any, str]]:
    client: Any = botocore.session.get_session().create_client("sqs", region_name=REGION)
    yield client, client.create_queue(QueueName=f"receiver-{uuid.uuid4()}")["QueueUrl"]
    client.close()


def dead_letters(queue: tuple[Any, str]) -> list[dict[str, Any]]:
    client, url = queue
    found: list[dict[str, Any]] = []
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += (json.loads(message["Body"]) for message in messages)
    return found


READINGS: list[dict[str, Any]] = [
    READING,
    {"deviceId": "d", "temp": 21, "ts": 1769860800123},
    {"deviceId": "d", "temp": -0.5, "messageId": "ü"},
    {"deviceId": "d", "temp": 0},
]


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("schema", ["message_time", "receipt_time"])
def test_a_row_is_the_same_as_in_the_former_form(reading: dict[str, Any], schema: str) -> None:
    by = parser(table_schema=schema, retention_days=7)
    wrapped = envelope(reading)
    named = reading | {name: value for name, value in wrapped.items() if name != "iot_payload"}
    former = item(one(json.dumps(named).encode(), by))
    for form in (json.dumps(wrapped).encode(), json.dumps([wrapped]).encode()):
        row = item(one(form, by))
        changing = ("received_at", "ttl", "clock_skew_ms", *(("Time",) if schema == "receipt_time" else ()))
        assert list(row) == list(former)  # byte for byte the same, but for the time of receipt
        assert {n: v for n, v in row.items() if n not in changing} == {
            n: v for n, v in former.items() if n not in changing
        }


async def test_single_and_batched_envelopes_are_rows(receiver: Receiver, table: Table) -> None:
    assert (await receiver.send(envelope(READING))).status == 200
    assert await (await receiver.send(body(*(READING | {"messageId": f"m{n}"} for n in range(2, 11))))).json() == {
        "stored": 9
    }
    assert [row["Time"]["S"] for row in table.rows()] == sorted(f"{AT}#m{n}" for n in range(1, 11))


async def test_a_payload_of_several_readings(make_receiver: Make, table: Table, queue: tuple[Any, str]) -> None:
    receiver = await make_receiver(dead_letter_queue_url=queue[1])
    texts = [f'{{"deviceId":"d","temp":{n},"ts":"{AT}"}}' for n in range(10)]
    texts[2], texts[5], texts[9] = '{"deviceId":"d","temperature":2}', '{ "deviceId":"d","temp":NaN }', "7"
    payload = f" [{', '.join(texts)}]".encode()
    for sent in (json.dumps(envelope(payload)).encode(), body(payload)):
        response = await receiver.send(sent)
        assert response.status == 200
        answer = await response.json()
        assert (answer["stored"], answer["rejected"]) == (7, 3)
        assert [(each["index"], each["place"]) for each in answer["results"]] == [(0, 2), (0, 5), (0, 9)]
        assert answer["results"][0]["reason"] == "temp is missing; the message has temperature"
        kept = dead_letters(queue)
        assert {b64decode(each["base64Message"]).decode() for each in kept} == {texts[2], texts[5], texts[9]}
        assert {(each["clientId"], each["envelope"]) for each in kept} == {("d", True)}
    assert len(table.rows()) == 7


PAYLOADS: dict[str, tuple[bytes, str]] = {
    "another name": (b'{"deviceId":"d","temperature":21.5,"humidity":40}', "the message has temperature, humidity"),
    "NaN": (b'{"deviceId":"d","temp":NaN}', "NaN is no JSON number"),
    "no readings": (b"[1,2]", "without a reading"),
    "nothing": (b"", "empty"),
    "no text": (b"\xff\xfe", "malformed"),
    "no UTF-8": (b"\xff\xfe", "the message is not UTF-8"),
    "UTF-16": ('{"deviceId":"d","temp":1}'.encode("utf-16"), "the message is not UTF-8"),
    "a byte order mark": (b'\xef\xbb\xbf{"deviceId":"d","temp":1}', "byte order mark"),
    "half a pair": (b'{"deviceId":"d","temp":1,"messageId":"\\ud800"}', "half of a surrogate pair"),
    "a broken array": (b"[1,", "the payload is not JSON"),
    "no array's end": (b"[" * 1_000, "the payload is not JSON"),
    "deep": (b"[" * 60_000 + b"]" * 60_000, "without a reading"),
    "too many": (json.dumps([READING] * 1_001).encode(), "more than 1000 readings"),
    "39 digits": (b'{"deviceId":"d","temp":%b}' % (b"1" * 39), "38 digits"),
    "a stranger's": (b'{"deviceId":"other","temp":1}', "client id"),
    "no device": (b'{"device":"d","temp":1}', "deviceId is missing; the message has device, temp"),
}


@pytest.mark.parametrize("what", PAYLOADS)
async def test_what_is_no_reading_is_kept_as_it_was_sent(
    make_receiver: Make, table: Table, queue: tuple[Any, str], what: str
) -> None:
    payload, reason = PAYLOADS[what]
    receiver = await make_receiver(dead_letter_queue_url=queue[1])
    response = await receiver.send(body(READING, payload, READING | {"messageId": "m2"}))
    assert (response.status, (await response.json())["stored"]) == (200, 2)
    (kept,) = dead_letters(queue)
    assert b64decode(kept["base64Message"]) == payload
    assert kept["clientId"] == "d"
    assert reason in kept["reason"]
    assert len(table.rows()) == 2
    # alone, and so IoT Core's error action keeps it
    response = await receiver.send(envelope(payload))
    assert response.status == 422
    assert reason in (await response.json(content_type=None))["detail"]


def test_numbers_of_38_digits_are_rows() -> None:
    text = "12345678901234567890123456789012345678"
    assert item(one(body(f'{{"deviceId":"d","temp":{text}}}'.encode())))["temperature"] == {"N": text}


def test_readings_of_one_payload_have_rows_of_their_own() -> None:
    by = parser()
    twice = {"deviceId": "d", "temp": 1}
    for payload, rows in (
        ([twice, twice], 2),  # two readings, at two places
        ([twice | {"ts": AT}, twice | {"ts": AT}], 1),  # one reading, said twice
        ([twice | {"ts": AT, "messageId": "m"}, twice | {"ts": AT, "messageId": "m", "temp": 2}], 2),
        ([twice | {"messageId": "m"}, twice | {"messageId": "n"}], 2),
    ):
        keys = [[row.time for row in by.parse(body(payload)) if isinstance(row, Row)] for _ in range(2)]
        assert keys[0] == keys[1]  # AWS's retry is the same
        assert len(set(keys[0])) == rows
        assert len(keys[0]) == 2


async def test_members_of_a_device_are_never_the_rules(make_receiver: Make, table: Table) -> None:
    receiver = await make_receiver()
    forged = {"deviceId": "d", "temp": 1, "iot_received_at": 0, "iot_trace_id": "x", "iot_client_id": "d"}
    inner = envelope(READING)
    assert (await receiver.send(envelope(forged, client="thief"))).status == 422
    assert (await receiver.send(envelope(inner))).status == 422
    assert (await receiver.send(envelope(forged))).status == 200
    (row,) = table.rows()
    assert row["Time"]["S"] == "2026-01-31T12:00:00.456Z#t-1"


async def test_an_envelope_without_the_rules_word_is_only_its_payload(make_receiver: Make, table: Table) -> None:
    """Rule and receiver change one after the other; a device that wraps its own reading gains nothing by it."""
    receiver = await make_receiver(rule_adds_metadata=False)
    assert (await receiver.send(envelope({"deviceId": "d", "temp": 1}, client="other"))).status == 200
    assert (await receiver.send({"deviceId": "e", "temp": 1, "iot_payload": "%%"})).status == 200
    assert (
        await receiver.send({"deviceId": "f", "temp": 1, "iot_payload": envelope(READING)["iot_payload"]})
    ).status == 200
    assert [row["deviceId"]["S"] for row in table.rows()] == ["d", "e", "f"]
    assert not any("trace_id" in row for row in table.rows())


async def test_packs_of_a_rule_that_adds_nothing(make_receiver: Make, table: Table, queue: tuple[Any, str]) -> None:
    """SELECT * forwards an array as it is; a batched action puts it into another one, beside single readings."""
    receiver = await make_receiver(rule_adds_metadata=False, dead_letter_queue_url=queue[1])
    readings = [READING | {"messageId": f"m{n}"} for n in range(1, 6)]
    bad = {"deviceId": "d", "humidity": 40}
    for sent, stored in (
        (readings[:2], 2),
        ([*readings[:2], bad], 2),
        ([readings[:2], [readings[2], bad], readings[3], [readings[4]]], 5),
    ):
        response = await receiver.send(sent)
        assert response.status == 200
        assert (await response.json())["stored"] == stored
    assert [row["Time"]["S"] for row in table.rows()] == [f"{AT}#m{n}" for n in range(1, 6)]
    kept = dead_letters(queue)
    assert [json.loads(b64decode(each["base64Message"])) for each in kept] == [bad, bad]
    assert {each["reason"] for each in kept} == {"temp is missing; the message has humidity"}


def test_all_forms_meet_in_one_body() -> None:
    named = READING | {"messageId": "m2", "iot_client_id": "d", "iot_trace_id": "t", "iot_received_at": 5}
    plain = READING | {"messageId": "m3"}
    results = parser().parse(
        json.dumps([envelope(READING), named, plain, envelope([READING | {"messageId": "m4"}])]).encode()
    )
    assert [result.time[-2:] for result in results if isinstance(result, Row)] == ["m1", "m2", "m3", "m4"]


def test_what_dynamodb_refuses_is_found_again_in_the_body() -> None:
    by = parser()
    texts = [b'{"deviceId":"d","temp":1}', b'{"deviceId":"d","temp":2}', b'{"deviceId":"d","temp":"x"}']
    sent = body(READING, b"[" + b",".join(texts) + b"]")
    results = by.parse(sent)
    assert [isinstance(result, Rejection) for result in results] == [False, False, False, True]
    refused = by.rejection(sent, 2, "DynamoDB refused it")
    assert (refused.message, refused.client_id, refused.source.place) == (texts[1], "d", 1)


@pytest.mark.parametrize(
    ("ts", "iso"),
    [
        ("1769860800", "2026-01-31T12:00:00.000Z"),
        ("1769860800.25", "2026-01-31T12:00:00.250Z"),
        ("1e9", "2001-09-09T01:46:40.000Z"),
        ("1e11", "5138-11-16T09:46:40.000Z"),
        ("999999999", "1970-01-12T13:46:39.999Z"),
        ("100000000001", "1973-03-03T09:46:40.001Z"),
        ("1769860800250", "2026-01-31T12:00:00.250Z"),
    ],
)
def test_a_number_that_can_only_be_seconds_is_read_as_seconds(ts: str, iso: str) -> None:
    row = one(body(f'{{"deviceId":"d","temp":1,"ts":{ts},"messageId":"m"}}'.encode()))
    assert row.time == f"{iso}#m"


def test_how_far_a_clock_may_be_off_is_a_setting() -> None:
    strict = parser(clock_ahead=1, clock_behind=60)
    receipt = strict._clock.receipt()
    for seconds, marked in ((-120, True), (-30, False), (0, False), (30, True)):
        sent = {"deviceId": "d", "temp": 1, "ts": (receipt.epoch + seconds) * 1_000}
        row = one(body(sent), strict)
        assert (row.skew_ms is not None) == marked
        assert one(body(sent)).skew_ms is None
