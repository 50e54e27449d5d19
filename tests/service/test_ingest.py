"""POST /ingest over HTTP: what is stored, what is refused, and how it is said."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from tests.service.faults import Faults
from tests.service.harness import SECRET, Make, Receiver, Table

GOOD = {"deviceId": "thing-1", "temp": 21.5, "ts": "2026-01-31T12:00:00.123Z", "messageId": "m1"}


async def test_a_message_is_a_row(receiver: Receiver, table: Table) -> None:
    response = await receiver.send(GOOD)
    assert (response.status, await response.json()) == (200, {"stored": 1})
    (row,) = table.rows()
    received_at = row.pop("received_at")["S"]
    skew = int(row.pop("clock_skew_ms")["N"])
    assert row == {
        "deviceId": {"S": "thing-1"},
        "Time": {"S": "2026-01-31T12:00:00.123Z#m1"},
        "temperature": {"N": "21.5"},
    }
    assert received_at.endswith("Z")
    assert len(received_at) == 24
    assert skew != 0


@pytest.mark.parametrize("path", ["/ingest", "/ingest/"])
async def test_both_paths_take_messages(receiver: Receiver, table: Table, path: str) -> None:
    response = await receiver.client.post(path, json=GOOD, headers={"X-Iot-Secret": SECRET})
    assert response.status == 200
    assert len(table.rows()) == 1


async def test_an_array_is_a_row_each(receiver: Receiver, table: Table) -> None:
    response = await receiver.send([GOOD | {"messageId": f"m{number}"} for number in range(10)])
    assert (response.status, await response.json()) == (200, {"stored": 10})
    assert len(table.rows()) == 10


async def test_an_array_larger_than_a_dynamodb_batch(receiver: Receiver, table: Table) -> None:
    response = await receiver.send([{"deviceId": f"d{number}", "temp": number} for number in range(120)])
    assert response.status == 200
    assert len(table.rows()) == 120


@pytest.mark.parametrize(
    "again",
    [
        GOOD,
        GOOD | {"temp": 21.50},
        GOOD | {"ts": 1769860800123},
        GOOD | {"ts": "2026-01-31T13:00:00.123+01:00"},
    ],
)
async def test_a_message_sent_again_is_the_same_row(receiver: Receiver, table: Table, again: Any) -> None:
    first = {name: value for name, value in GOOD.items() if name != "messageId"}
    again = {name: value for name, value in again.items() if name != "messageId"}
    for message in (first, again, first):
        assert (await receiver.send(message)).status == 200
    assert len(table.rows()) == 1


async def test_equal_values_in_other_spellings_are_one_row(receiver: Receiver, table: Table) -> None:
    for number in (b"21", b"21.0", b"2.1e1", b"210E-1"):
        body = b'{"deviceId":"d","ts":1769860800000,"temp":%b}' % number
        assert (await receiver.send(body)).status == 200
    (row,) = table.rows()
    assert row["temperature"] == {"N": "21"}


async def test_two_readings_of_one_instant_are_two_rows(receiver: Receiver, table: Table) -> None:
    at = {"deviceId": "d", "ts": 1769860800000}
    assert (await receiver.send([at | {"temp": 1}, at | {"temp": 2}])).status == 200
    finer = [
        at | {"ts": "2026-02-01T00:00:00.0001Z", "temp": 1},
        at | {"ts": "2026-02-01T00:00:00.0002Z", "temp": 1},
    ]
    assert (await receiver.send(finer)).status == 200
    assert len(table.rows()) == 4


async def test_numbers_are_stored_exactly(receiver: Receiver, table: Table) -> None:
    texts = [
        "0.1",
        "-40.000000000000000001",
        "12345678901234567890123456789012345678",
        "1e-130",
        "9.9e125",
        "-0",
    ]
    for text in texts:
        body = b'{"deviceId":"d","temp":%b}' % text.encode()
        assert (await receiver.send(body)).status == 200, text
    assert {Decimal(row["temperature"]["N"]) for row in table.rows()} == {Decimal(text) for text in texts}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "truncated"),
        (b"no json", "malformed"),
        (b"{}", "deviceId"),
        (b'"text"', "object"),
        (b'{"deviceId":"","temp":1}', "deviceId"),
        (b'{"deviceId":7,"temp":1}', "deviceId"),
        (b'{"deviceId":null,"temp":1}', "deviceId"),
        (b'{"deviceId":"%b","temp":1}' % (b"x" * 129), "deviceId"),
        (b'{"deviceId":"d"}', "temp"),
        (b'{"deviceId":"d","temp":"21"}', "temp"),
        (b'{"deviceId":"d","temp":true}', "temp"),
        (b'{"deviceId":"d","temp":null}', "temp"),
        (b'{"deviceId":"d","temp":[1]}', "temp"),
        (b'{"deviceId":"d","temp":NaN}', "malformed"),
        (b'{"deviceId":"d","temp":-Infinity}', "malformed"),
        (b'{"deviceId":"d","temp":1e126}', "temp"),
        (b'{"deviceId":"d","temp":1e-131}', "temp"),
        (b'{"deviceId":"d","temp":%b}' % (b"1" * 39), "temp"),
        (b'{"deviceId":"d","temp":1e99999999999999999999}', "temp"),
        (b'{"deviceId":"d","temp":1,"messageId":""}', "messageId"),
        (b'{"deviceId":"d","temp":1,"messageId":"%b"}' % (b"x" * 129), "messageId"),
        (b'{"deviceId":"d","temp":1,"messageId":5}', "messageId"),
        (b'{"deviceId":"d","temp":1,"ts":"yesterday"}', "ts"),
        (b'{"deviceId":"d","temp":1,"ts":"2026-01-31T12:00:00"}', "ts"),
        (b'{"deviceId":"d","temp":1,"ts":"2026-02-30T12:00:00Z"}', "ts"),
        (b'{"deviceId":"d","temp":1,"ts":true}', "ts"),
        (b'{"deviceId":"d","temp":1,"ts":1e300}', "ts"),
        (b'{"deviceId":"d","temp":1,"ts":{}}', "ts"),
        (b'{"deviceId":"\xff","temp":1}', "UTF-8"),
        (b'{"deviceId":"\\ud800","temp":1}', "surrogate"),
        (b'{"deviceId":"d","temp":' + b"[" * 100_000, "recursion"),
        (b"[]", "empty"),
        (b"[" * 100_000, "not JSON"),
    ],
)
async def test_what_is_no_message_is_refused_with_the_reason(
    receiver: Receiver, table: Table, message: bytes, reason: str
) -> None:
    response = await receiver.send(message)
    assert response.status == 422
    assert response.content_type == "application/problem+json"
    problem = json.loads(await response.read())
    assert problem["status"] == 422
    assert reason in problem["detail"]
    assert table.rows() == []


async def test_unknown_members_are_ignored(receiver: Receiver, table: Table) -> None:
    assert (await receiver.send(GOOD | {"humidity": 40, "temperature": 99, "Time": "x", "ttl": 1})).status == 200
    assert table.rows()[0]["temperature"] == {"N": "21.5"}
    assert table.rows()[0].keys() == {"deviceId", "Time", "temperature", "received_at", "clock_skew_ms"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"X-Iot-Secret": "wrong"}, 403),
        ({"X-Iot-Secret": ""}, 403),
        ({"X-Iot-Secret": SECRET[:-1]}, 403),
    ],
)
async def test_the_secret_comes_first(receiver: Receiver, headers: dict[str, str], status: int) -> None:
    for body in (b"{}", b"x" * 600_000):
        response = await receiver.client.post("/ingest", data=body, headers=headers)
        assert response.status == status
        assert response.content_type == "application/problem+json"


async def test_sizes(receiver: Receiver, table: Table) -> None:
    body = json.dumps(GOOD).encode()
    assert (await receiver.send(body.ljust(524_288))).status == 200
    assert (await receiver.send(body.ljust(524_289))).status == 413

    async def chunks() -> Any:
        for _ in range(9):
            yield b" " * 65_536

    headers = {"X-Iot-Secret": SECRET, "Content-Type": "application/json"}
    response = await receiver.client.post("/ingest", data=chunks(), headers=headers)
    assert response.status == 413
    assert (await receiver.send([{"deviceId": "d", "temp": 1}] * 1_001)).status == 413
    assert len(table.rows()) == 1


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=UTF-8", 200),
        ("application/json; charset=latin-1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
    ],
)
async def test_content_types(receiver: Receiver, content_type: str, status: int) -> None:
    assert (await receiver.send(json.dumps(GOOD).encode(), Content_Type=content_type)).status == status


async def test_encoded_bodies_are_refused(receiver: Receiver) -> None:
    assert (await receiver.send(json.dumps(GOOD).encode(), Content_Encoding="gzip")).status == 415


async def test_methods_and_paths(receiver: Receiver) -> None:
    for path in ("/ingest", "/ingest/"):
        response = await receiver.client.get(path)
        assert (response.status, response.headers["Allow"]) == (405, "POST")
    response = await receiver.client.post("/nowhere")
    assert (response.status, response.content_type) == (404, "application/problem+json")


async def test_the_publisher_must_be_the_device(make_receiver: Make, table: Table) -> None:
    receiver = await make_receiver()
    assert (await receiver.send(GOOD | {"iot_client_id": "thing-1"})).status == 200
    for stranger in ("thing-2", "n/a", ""):
        response = await receiver.send(GOOD | {"messageId": "forged", "iot_client_id": stranger})
        assert response.status == 422
        assert "client id" in (await response.json(content_type=None))["detail"]
    assert len(table.rows()) == 1
    for nobody in ("n/a", ["thing-1"], 5):
        named = {"deviceId": "n/a", "temp": 5, "iot_client_id": nobody}
        assert (await receiver.send(named)).status == 422
    assert len(table.rows()) == 1
    gateway = await make_receiver(device_id_check="off")
    assert (await gateway.send(GOOD | {"messageId": "m2", "iot_client_id": "gateway"})).status == 200
    assert len(table.rows()) == 2


@pytest.mark.parametrize("members", [{}, {"iot_client_id": None}])
async def test_what_no_rule_sent_is_believed_for_its_secret(
    receiver: Receiver, table: Table, members: dict[str, Any]
) -> None:
    assert (await receiver.send(GOOD | members)).status == 200
    assert len(table.rows()) == 1


async def test_without_the_rule_its_members_are_only_a_devices_words(make_receiver: Make, table: Table) -> None:
    receiver = await make_receiver(rule_adds_metadata=False)
    forged = {"deviceId": "d", "temp": 1, "iot_received_at": 0, "iot_trace_id": "t", "iot_client_id": "x"}
    assert (await receiver.send(forged)).status == 200
    assert (await receiver.send(forged | {"iot_received_at": [], "iot_client_id": 5})).status == 200
    rows = table.rows()
    assert len(rows) == 2
    for row in rows:
        assert row["Time"]["S"].startswith(row["received_at"]["S"] + "#")
        assert "trace_id" not in row


async def test_without_a_time_awss_own_retry_is_the_same_row(receiver: Receiver, table: Table) -> None:
    message = {"deviceId": "d", "temp": 1, "iot_received_at": 1769860800123, "iot_trace_id": "trace-1"}
    for _ in range(2):
        assert (await receiver.send(message)).status == 200
    (row,) = table.rows()
    assert row["Time"] == {"S": "2026-01-31T12:00:00.123Z#trace-1"}
    assert row["trace_id"] == {"S": "trace-1"}


async def test_the_reading_that_was_written_last_is_kept(receiver: Receiver, table: Table) -> None:
    """A device that sends other content under the same id and instant corrects what it sent before."""
    reading = {"deviceId": "d", "temp": 1, "ts": 1769860800000, "messageId": "m"}
    for temp in (1, 2, 1, 3):
        assert (await receiver.send(reading | {"temp": temp})).status == 200
        (row,) = table.rows()
        assert row["temperature"] == {"N": str(temp)}


FRESH, LATE = 1769860800100, 1769860860100  # 0.1 s and a minute after the reading's own time


@pytest.mark.parametrize("arrivals", [(FRESH, FRESH), (FRESH, LATE), (LATE, LATE + 60_000)])
async def test_a_redelivery_changes_nothing(make_receiver: Make, table: Table, arrivals: tuple[int, int]) -> None:
    """Neither IoT Core's second try nor a device that sends again after it reconnected."""
    receiver = await make_receiver(retention_days=30)
    reading = {"deviceId": "d", "temp": 100, "ts": 1769860800000, "messageId": "m", "iot_client_id": "d"}
    rows = []
    for arrival, temp in zip(arrivals, ("100", "1e2"), strict=True):
        body = json.dumps(reading | {"iot_received_at": arrival}).replace('"temp": 100', f'"temp": {temp}')
        assert (await receiver.send(body.encode())).status == 200
        rows += table.rows()
    assert rows[0] == rows[1]
    assert rows[0]["received_at"]["S"] == f"2026-01-31T12:0{0 if arrivals[0] == FRESH else 1}:00.100Z"
    assert int(rows[0]["ttl"]["N"]) == arrivals[0] // 1_000 + 30 * 86_400
    seen = sum(arrival != FRESH for arrival in arrivals[1:])
    assert await receiver.metric("iot_receiver_redelivered_items_total") == seen


async def test_a_late_reading_is_stored_although_it_can_not_be_looked_up(
    faults: Faults, make_receiver: Make, caplog: pytest.LogCaptureFixture
) -> None:
    faults.unreadable = True
    receiver = await make_receiver()
    for number in range(3):
        assert (await receiver.send({"deviceId": "d", "temp": number, "ts": 1769860800000 + number})).status == 200
    assert len(faults.rows) == 3
    assert [record.message for record in caplog.records].count(
        "readings that may be stored already could not be looked up"
    ) == 1  # then it is left for a while


async def test_the_receipt_time_schema(make_receiver: Make, table: Table) -> None:
    receiver = await make_receiver(table_schema="receipt_time")
    assert (await receiver.send([GOOD, GOOD, GOOD])).status == 200
    rows = table.rows()
    assert len(rows) == 3
    assert all(row["Time"]["S"][:19] == row["received_at"]["S"][:19] for row in rows)


async def test_retention(make_receiver: Make, table: Table) -> None:
    receiver = await make_receiver(retention_days=30)
    assert (await receiver.send(GOOD)).status == 200
    (row,) = table.rows()
    received = datetime.fromisoformat(row["received_at"]["S"]).timestamp()
    assert int(row["ttl"]["N"]) == int(received) + 30 * 86_400


async def test_a_wrong_clock_is_counted_and_marked(receiver: Receiver, table: Table) -> None:
    for ts in ("1970-01-01T00:00:10Z", "2999-01-01T00:00:00Z"):
        assert (await receiver.send({"deviceId": "d", "temp": 1, "ts": ts})).status == 200
    early, late = table.rows()
    assert early["Time"]["S"].startswith("1970-01-01T00:00:10.000Z#")
    assert int(early["clock_skew_ms"]["N"]) < 0 < int(late["clock_skew_ms"]["N"])
    assert await receiver.metric('iot_receiver_clock_skew_messages_total{direction="ahead"}') == 1
    assert await receiver.metric('iot_receiver_clock_skew_messages_total{direction="behind"}') == 1


async def test_bad_elements_without_a_queue(receiver: Receiver, table: Table) -> None:
    body = b'[{"deviceId":"a","temp":1},{"deviceId":"b","temp":NaN},{"temp":2},{"deviceId":"c","temp":3}]'
    response = await receiver.send(body)
    problem = await response.json(content_type=None)
    assert response.status == 422
    assert [result["index"] for result in problem["results"]] == [1, 2]
    assert problem["stored"] == 2
    assert [row["deviceId"]["S"] for row in table.rows()] == ["a", "c"]
