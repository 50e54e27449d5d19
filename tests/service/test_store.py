"""Durability: whatever DynamoDB does, 200 means stored, and one row's trouble is not another's."""

import asyncio
import json
import random
import time
from typing import Any

import pytest
from iot_receiver import keys, store

from tests.service.faults import Answer, Faults, answers, error, late, reset
from tests.service.harness import Make, Receiver, Table

TROUBLES: dict[str, Answer] = {
    "throttled": error("ProvisionedThroughputExceededException"),
    "server error": error("InternalServerError", 500),
    "proxy's error": answers(502, "<html>"),
    "broken answer": answers(200, '{"UnprocessedItems":'),
    "other broken answer": answers(200, "[]"),
    "empty answer": answers(200, "{}"),
    "answer without its member": answers(200, '{"ConsumedCapacity":[]}'),
    "another table's answer": answers(200, '{"UnprocessedItems":{"another":[]}}'),
    "null for its member": answers(200, '{"UnprocessedItems":null}'),
    "nested answer": answers(200, '{"UnprocessedItems":{},"a":' + "[" * 10_000 + "]" * 10_000 + "}"),
    "nested fault": answers(400, '{"a":' + "[" * 10_000 + "]" * 10_000 + "}"),
    "reset": reset,
    "too slow": late(1.5),
    "no permission yet": error("AccessDeniedException"),
}


@pytest.fixture
async def shaky(faults: Faults, make_receiver: Make) -> Receiver:
    """A receiver whose way to DynamoDB is at fault."""
    return await make_receiver()


def message(number: int, **members: Any) -> dict[str, Any]:
    return {
        "deviceId": f"d{number}",
        "temp": number,
        "ts": 1769860800000,
        "messageId": f"m{number}",
        **members,
    }


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_trouble_that_passes_is_not_seen(
    shaky: Receiver, faults: Faults, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    faults.script = [TROUBLES[trouble]]
    response = await shaky.send([message(number) for number in range(10)])
    assert response.status == 200
    assert len(faults.rows) == 10
    assert len(faults.calls) >= 2
    assert "a write failed in a way it should not" not in caplog.text


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_trouble_that_stays_is_503_in_time(
    deadline: float, shaky: Receiver, faults: Faults, trouble: str
) -> None:
    faults.script = [TROUBLES[trouble]] * 1_000
    started = time.monotonic()
    response = await shaky.send(message(1))
    took = time.monotonic() - started
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert 0.85 < took < 1.1
    faults.script = []
    assert (await shaky.send(message(1))).status == 200


async def test_an_answer_counts_as_long_as_somebody_waits(deadline: float, shaky: Receiver, faults: Faults) -> None:
    faults.script = [late(0.65)] * 1_000
    started = time.monotonic()
    assert (await shaky.send(message(1))).status == 200
    assert time.monotonic() - started > 0.6
    assert len(faults.rows) == 1


async def test_a_missing_permission_is_named(shaky: Receiver, faults: Faults, caplog: pytest.LogCaptureFixture) -> None:
    faults.script = [error("AccessDeniedException")]
    faults.unreadable = True
    long_ago = message(1, ts=1669860800000)  # late, so that it is looked up before it is written
    assert (await shaky.send(long_ago)).status == 200
    fields = [record.__dict__["fields"] for record in caplog.records if record.levelname == "ERROR"]
    found = {each["action"]: each["code"] for each in fields}
    assert found == dict.fromkeys(("dynamodb:BatchGetItem", "dynamodb:BatchWriteItem"), "AccessDeniedException")


async def test_left_over_rows_that_were_not_sent_are_no_answer(shaky: Receiver, faults: Faults, table: Table) -> None:
    stranger = {"PutRequest": {"Item": {"deviceId": {"S": "other"}, "Time": {"S": "t"}}}}
    faults.script = [answers(200, json.dumps({"UnprocessedItems": {table.name: [stranger]}}))]
    assert (await shaky.send(message(1))).status == 200
    assert len(faults.calls) == 2
    assert len(faults.rows) == 1


async def test_unprocessed_items_are_written_again(shaky: Receiver, faults: Faults) -> None:
    """A busy machine may answer 503 instead; the senders retry, so each reading is stored in the end."""
    faults.throttled_items = 0.5

    async def deliver(number: int) -> list[int]:
        statuses = [(await shaky.send(message(number))).status]
        while statuses[-1] != 200 and len(statuses) < 20:
            statuses.append((await shaky.send(message(number))).status)
        return statuses

    statuses = await asyncio.gather(*(deliver(number) for number in range(200)))
    assert {status for each in statuses for status in each[:-1]} <= {503}
    assert {each[-1] for each in statuses} == {200}
    assert {device for device, _ in faults.rows} == {f"d{number}" for number in range(200)}


@pytest.mark.parametrize("behind", ["memory", "DynamoDB Local"])
async def test_every_200_is_a_row_through_a_storm(
    shaky: Receiver, faults: Faults, table: Table, dynamodb_url: str, behind: str
) -> None:
    faults.throttled_items, faults.failed_calls = 0.3, 0.05
    faults.target = dynamodb_url if behind == "DynamoDB Local" else ""
    pace = random.Random(2)  # noqa: S311 - to be the same each time

    async def send(number: int) -> int:
        await asyncio.sleep(pace.random() * 4)
        return (await shaky.send([message(number, messageId="a"), message(number, messageId="b")])).status

    statuses = await asyncio.gather(*(send(number) for number in range(300)))
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) > (0 if faults.target else 250)
    held = table.rows() if faults.target else list(faults.rows.values())
    rows = {(row["deviceId"]["S"], row["Time"]["S"][-1]): row["temperature"]["N"] for row in held}
    for number, status in enumerate(statuses):
        if status == 200:
            assert rows[f"d{number}", "a"] == rows[f"d{number}", "b"] == str(number)


async def test_a_refused_item_fails_alone(shaky: Receiver, faults: Faults) -> None:
    faults.refuse_device = "d3"
    answers = await asyncio.gather(*(shaky.send(message(number)) for number in range(30)))
    assert [number for number, answer in enumerate(answers) if answer.status != 200] == [3]
    assert answers[3].status == 422
    assert "ValidationException" in await answers[3].text()
    response = await shaky.send([message(number) for number in range(100, 110)] + [message(3)])
    assert response.status == 422
    assert (await response.json(content_type=None))["results"][0]["index"] == 10
    assert len(faults.rows) == 29 + 10


async def test_requests_share_calls(shaky: Receiver, faults: Faults) -> None:
    faults.delay = 0.02
    answers = await asyncio.gather(*(shaky.send(message(number)) for number in range(250)))
    assert {answer.status for answer in answers} == {200}
    assert len(faults.calls) < 60
    assert max(faults.calls) <= 25
    assert len(faults.rows) == 250


async def test_a_lone_message_goes_at_once(shaky: Receiver, faults: Faults) -> None:
    await shaky.send(message(-1))  # opens the connection
    times = []
    for number in range(10):
        started = time.monotonic()
        assert (await shaky.send(message(number))).status == 200
        times.append(time.monotonic() - started)
    assert sorted(times)[5] < 0.1
    assert faults.calls == [1] * 11


async def test_equal_keys_share_a_write(shaky: Receiver, faults: Faults) -> None:
    response = await shaky.send([message(1), message(2), message(1, temp=5), message(1, temp=7)])
    assert response.status == 200
    assert faults.calls == [2]
    assert sorted(row["temperature"]["N"] for row in faults.rows.values()) == ["2", "7"]


async def test_a_full_queue_is_503_at_once(shaky: Receiver, faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "QUEUE_ITEMS", 50)
    faults.delay = 0.3
    answers = await asyncio.gather(*(shaky.send([message(n), message(-n)]) for n in range(1, 41)))
    statuses = [answer.status for answer in answers]
    assert statuses.count(200) == 25
    assert statuses.count(503) == 15
    assert all("Retry-After" in answer.headers for answer in answers if answer.status == 503)
    assert shaky.app[keys.METRICS].queued == 0


async def test_slow_calls_do_not_hold_up_others(shaky: Receiver, faults: Faults) -> None:
    faults.script = [late(0.39)] * 4
    slow = []
    for number in range(4):
        slow.append(asyncio.create_task(shaky.send(message(number))))
        while len(faults.calls) <= number:  # noqa: ASYNC110 - the call arrives over HTTP
            await asyncio.sleep(0.001)
    await asyncio.sleep(0.1)
    assert (await shaky.send(message(9))).status == 200
    assert not any(task.done() for task in slow)
    assert {(await task).status for task in slow} == {200}


async def test_dynamodb_away_and_back(deadline: float, faults: Faults, make_receiver: Make, table: Table) -> None:
    receiver = await make_receiver()
    faults.script = [reset] * 10_000
    answers = await asyncio.gather(*(receiver.send(message(number)) for number in range(100)))
    assert {answer.status for answer in answers} == {503}
    faults.script = []
    answers = await asyncio.gather(*(receiver.send(message(number)) for number in range(100)))
    assert {answer.status for answer in answers} == {200}
    assert len(faults.rows) == 100
    await asyncio.sleep(store.BACKOFF_SECONDS + 0.1)  # those given up leave when their pause is over
    assert receiver.app[keys.METRICS].queued == 0
