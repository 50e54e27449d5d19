"""Elements that are no readings go to the dead-letter queue; their neighbours are stored."""

import asyncio
import json
import uuid
from base64 import b64decode
from typing import Any

import botocore.session
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from iot_receiver import keys
from iot_receiver.metrics import Metrics
from iot_receiver.queues import Queue

from tests.service.harness import REGION, Make, Receiver, Table


@pytest.fixture
def queue(aws: None) -> Any:
    client: Any = botocore.session.get_session().create_client("sqs", region_name=REGION)
    url = client.create_queue(QueueName=f"letters-{uuid.uuid4()}")["QueueUrl"]
    yield client, url
    client.close()


def letters(queue: Any) -> list[dict[str, Any]]:
    client, url = queue
    found: list[dict[str, Any]] = []
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += (json.loads(message["Body"]) for message in messages)
    return found


async def test_one_bad_in_ten(make_receiver: Make, table: Table, queue: Any) -> None:
    receiver = await make_receiver(dead_letter_queue_url=queue[1])
    body = [{"deviceId": f"d{number}", "temp": number} for number in range(9)]
    response = await receiver.send([*body, {"deviceId": "bad", "temp": "hot"}])
    assert response.status == 200
    assert await response.json() == {
        "stored": 9,
        "rejected": 1,
        "results": [{"index": 9, "reason": "temp is not a number"}],
    }
    assert len(table.rows()) == 9
    (letter,) = letters(queue)
    assert letter["reason"] == "temp is not a number"
    assert json.loads(b64decode(letter["base64Message"])) == {"deviceId": "bad", "temp": "hot"}
    assert letter["receivedAt"].endswith("Z")
    assert await receiver.metric('iot_receiver_messages_total{outcome="dead_lettered"}') == 1
    assert await receiver.metric('iot_receiver_messages_total{outcome="stored"}') == 9


async def test_many_bad_ones_take_several_calls(make_receiver: Make, table: Table, queue: Any) -> None:
    receiver = await make_receiver(dead_letter_queue_url=queue[1])
    response = await receiver.send([{"deviceId": "d", "bad": number} for number in range(35)])
    assert response.status == 200
    assert len(await response.read()) < 16_384
    assert len(letters(queue)) == 35
    assert table.rows() == []


async def test_a_single_bad_message_is_left_to_the_rules_error_action(make_receiver: Make, queue: Any) -> None:
    receiver = await make_receiver(dead_letter_queue_url=queue[1])
    assert (await receiver.send({"deviceId": "d"})).status == 422
    assert letters(queue) == []


async def test_what_is_too_large_for_the_queue_is_422(make_receiver: Make, table: Table, queue: Any) -> None:
    receiver = await make_receiver(dead_letter_queue_url=queue[1])
    response = await receiver.send([{"deviceId": "d", "temp": 1}, {"deviceId": "x" * 400_000}])
    assert response.status == 422
    assert (await response.json(content_type=None))["results"][0]["index"] == 1
    assert len(table.rows()) == 1
    assert letters(queue) == []


async def test_no_queue_to_be_reached_is_503(make_receiver: Make, queue: Any) -> None:
    receiver = await make_receiver(dead_letter_queue_url=queue[1].replace("letters", "none"))
    response = await receiver.send([{"deviceId": "d", "temp": 1}, {"deviceId": "d"}])
    assert response.status == 503
    assert response.headers["Retry-After"] == "1"


async def test_what_sqs_does_not_confirm_is_503_and_not_counted_as_stored(
    make_receiver: Make, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [{}, {"Successful": [{"Id": "0", "MessageId": "m", "MD5OfMessageBody": "x"}]}]

    async def answer(request: web.Request) -> web.Response:
        if not request.headers["X-Amz-Target"].endswith("SendMessageBatch"):
            return web.json_response({"Attributes": {}})
        return web.json_response(answers.pop(0), content_type="application/x-amz-json-1.0")

    app = web.Application()
    app.router.add_post("/{any:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", str(server.make_url("/")))
        receiver = await make_receiver(dead_letter_queue_url=str(server.make_url("/queue")))
        for _ in range(2):
            response = await receiver.send([{"deviceId": "d", "temp": 1}, {"deviceId": "d"}, {"deviceId": "e"}])
            assert response.status == 503
    assert await receiver.metric('iot_receiver_messages_total{outcome="stored"}') == 0
    assert await receiver.metric('iot_receiver_messages_total{outcome="unavailable"}') == 6


async def counted(receiver: Receiver, queues: int = 1) -> dict[str, float]:
    """The receiver's counts by queue, once it has looked at that many."""
    for _ in range(100):
        text = await (await receiver.client.get("/metrics")).text()
        lines = [line.split() for line in text.splitlines() if line.startswith("iot_receiver_dead_letters{")]
        if len(lines) >= queues:
            return {labels.split('"')[1]: float(value) for labels, value in lines}
        await asyncio.sleep(0.05)
    return {}


async def test_what_waits_is_counted(make_receiver: Make, queue: Any) -> None:
    client, url = queue
    rules = client.create_queue(QueueName=f"rules-{uuid.uuid4()}")["QueueUrl"]
    for _ in range(3):
        client.send_message(QueueUrl=rules, MessageBody="{}")
    receiver = await make_receiver(dead_letter_queue_url=url, rule_dead_letter_queue_url=rules)
    assert await counted(receiver, 2) == {"receiver": 0, "rule": 3}


async def test_a_queue_that_can_not_be_counted_has_no_number(
    make_receiver: Make, queue: Any, caplog: pytest.LogCaptureFixture
) -> None:
    missing = queue[1].replace("letters", "none")
    with pytest.raises(ClientError):
        queue[0].get_queue_attributes(QueueUrl=missing)
    receiver = await make_receiver(dead_letter_queue_url=queue[1], rule_dead_letter_queue_url=missing)
    assert await counted(receiver) == {"receiver": 0}
    faults: list[Any] = []
    for _ in range(100):
        faults = [
            getattr(record, "fields", {}).get("queue") for record in caplog.records if record.levelname == "ERROR"
        ]
        if faults:
            break
        await asyncio.sleep(0.05)
    assert faults == ["rule"]


async def test_an_answer_that_can_not_be_read_does_not_end_the_counting(
    make_receiver: Make, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = await make_receiver(dead_letter_queue_url=queue[1])
    assert await counted(receiver) == {"receiver": 0}
    monkeypatch.setattr("iot_receiver.dead_letters.COUNT_SECONDS", 0.01)
    script: list[Exception] = [ResponseParserError("no JSON"), KeyError("Attributes")]

    async def count(_: Queue) -> int:
        if script:
            raise script.pop()
        return 7

    monkeypatch.setattr(Queue, "count", count)
    metrics = Metrics()
    watch = asyncio.create_task(receiver.app[keys.DEAD_LETTERS].watch(metrics))
    for _ in range(1_500):
        if metrics.dead_letters:
            break
        await asyncio.sleep(0.01)
    watch.cancel()
    assert metrics.dead_letters == {"receiver": 7}
