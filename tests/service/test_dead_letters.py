"""Elements that are no readings go to the dead-letter queue; their neighbours are stored."""

import json
import uuid
from base64 import b64decode
from typing import Any

import botocore.session
import pytest
from harness import REGION, Make, Table


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
