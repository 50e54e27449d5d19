"""The HTTPS domain as the internet, or AWS, sees it."""

import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.deployment.conftest import TABLE

Aws = Callable[[str], Any]


def reading(device: str, **members: object) -> dict[str, object]:
    """A valid message as the rule forwards it."""
    return {"deviceId": device, "temp": 21.5, "ts": int(time.time() * 1000), "messageId": str(uuid.uuid4()),
            "iot_received_at": int(time.time() * 1000), "iot_trace_id": str(uuid.uuid4()),
            "iot_client_id": device} | members


def test_without_the_secret_a_message_is_refused(https: httpx.Client) -> None:
    assert https.post("/ingest", json=reading("outsider")).status_code in (401, 403)
    wrong = https.post("/ingest", json=reading("outsider"), headers={"X-Iot-Secret": "0" * 64})
    assert wrong.status_code in (401, 403)


def test_a_good_message_is_a_row(https: httpx.Client, secret: str, aws: Aws) -> None:
    device, identity = f"outsider-{uuid.uuid4().hex[:8]}", str(uuid.uuid4())
    message = reading(device, messageId=identity, temp=-3.25)
    for _ in range(3):  # a redelivered message is the same row
        answer = https.post("/ingest", json=message, headers={"X-Iot-Secret": secret})
        assert answer.status_code == 200, answer.text
    items = aws("dynamodb").query(TableName=TABLE, KeyConditionExpression="deviceId = :d",
                                  ExpressionAttributeValues={":d": {"S": device}})["Items"]
    assert len(items) == 1
    assert items[0]["temperature"] == {"N": "-3.25"}
    assert items[0]["Time"]["S"].endswith(f"#{identity}")


@pytest.mark.parametrize(("members", "word"), [
    ({"temp": "warm"}, "temp"),
    ({"temp": True}, "temp"),
    ({"deviceId": ""}, "deviceId"),
    ({"iot_client_id": "somebody-else"}, "deviceId"),
])
def test_a_bad_message_is_rejected_with_the_reason(
    https: httpx.Client, secret: str, members: dict[str, object], word: str
) -> None:
    answer = https.post("/ingest", json=reading("outsider", **members), headers={"X-Iot-Secret": secret})
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert word in answer.text


def test_metrics_show_strangers_health_only(https: httpx.Client) -> None:
    answer = https.get("/metrics")
    assert answer.status_code == 200
    assert "messages" not in answer.text


def test_nothing_else_is_routed(https: httpx.Client) -> None:
    assert https.get("/readyz").status_code == 404
    assert https.get("/").status_code == 404
