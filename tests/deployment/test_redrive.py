"""An outage under load: what could not be delivered becomes dead letters, and by a redrive rows, each once."""

import json
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import TABLE, Recap
from test_kit import THING, Device, kit  # noqa: F401 - a fixture

Aws = Callable[[str], Any]
Kubectl = Callable[..., Any]
Playbook = Callable[..., Recap]

RATE = 40  # readings a second
RECEIVER = ("deployment", "iot-receiver", "-n", "apps")


class Load:
    """A device that publishes all the time, and remembers what the broker has taken."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._run_id = uuid.uuid4().hex[:8]
        self.named: set[str] = set()  # ids of readings that say when they were taken
        self.unnamed: set[str] = set()  # temperatures of those that don't, each its own

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            reading: dict[str, Any] = {"deviceId": THING, "temp": 21.0}
            if number % 4:
                identity = f"{self._run_id}-{number}"
                reading |= {"ts": int(time.time() * 1000), "messageId": identity}
                self.named.add(identity)
            else:
                reading["temp"] = -round(time.time() % 1_000_000 + number / 10_000, 4)
                self.unnamed.add(str(reading["temp"]))
            self._device.client.publish("things/telemetry", json.dumps(reading), qos=1).wait_for_publish(30)
            time.sleep(1 / RATE)


@pytest.fixture
def device(kit: Path) -> Iterator[Device]:  # noqa: F811
    """The kit's device, connected."""
    connection = Device(kit, THING).open()
    assert connection.connected.wait(10)
    yield connection
    connection.close()


def scale(kubectl: Kubectl, replicas: int) -> None:
    """Have so many receivers, and wait until they serve."""
    kubectl("scale", *RECEIVER, f"--replicas={replicas}")
    deadline = time.monotonic() + 60
    while kubectl("get", *RECEIVER)["status"].get("readyReplicas", 0) != replicas:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def rows_since(aws: Aws, start: str) -> list[dict[str, Any]]:
    """The device's rows from a time on."""
    pages = aws("dynamodb").get_paginator("query").paginate(
        TableName=TABLE, KeyConditionExpression="deviceId = :d AND #t >= :t", ConsistentRead=True,
        ExpressionAttributeNames={"#t": "Time"},
        ExpressionAttributeValues={":d": {"S": THING}, ":t": {"S": start}})
    return [item for page in pages for item in page["Items"]]


def letters(aws: Aws) -> int:
    """How many dead letters there are."""
    sqs = aws("sqs")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(
        int(number) for url in sqs.list_queues()["QueueUrls"]
        for number in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values())


def settled(aws: Aws) -> int:
    """The number of dead letters once it has stopped growing."""
    before = -1
    while before != (now := letters(aws)):
        before = now
        time.sleep(2)
    return now


def told(recap: Recap, queue: str) -> dict[str, int]:
    """A queue's line in the closing table."""
    assert recap.status == 0, recap.output[-4000:]
    found = re.search(rf"{queue} +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)", recap.output)
    assert found, recap.output[-4000:]
    names = ("letters", "redriven", "already_stored", "rejected", "left")
    return dict(zip(names, map(int, found.groups()), strict=True))


def test_after_an_outage_and_a_redrive_the_ledgers_are_equal(
    device: Device, aws: Aws, kubectl: Kubectl, playbook: Playbook
) -> None:
    start = datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    before = letters(aws)
    with Load(device) as load:
        time.sleep(1)
        try:
            scale(kubectl, 0)
            deadline = time.monotonic() + 30
            while letters(aws) == before and time.monotonic() < deadline:
                time.sleep(0.5)
            time.sleep(4)
        finally:
            scale(kubectl, 2)
        time.sleep(1)
    waiting = settled(aws)
    assert waiting > before, "nothing became a dead letter"
    sent = len(load.named) + len(load.unnamed)
    arrived = len(rows_since(aws, start))
    assert arrived < sent

    first = told(playbook("playbooks/redrive.yml"), "rule")
    assert first["redriven"] >= sent - arrived  # other tests may have left some, too
    assert first["left"] == 0
    rows = rows_since(aws, start)
    named = Counter(row["Time"]["S"].partition("#")[2] for row in rows if "trace_id" not in row)
    unnamed = Counter(row["temperature"]["N"] for row in rows if "trace_id" in row)
    assert named == Counter(load.named)
    assert unnamed == Counter(load.unnamed)

    again = playbook("playbooks/redrive.yml")
    second = told(again, "rule")
    assert second["redriven"] == 0
    assert second["letters"] <= second["rejected"]  # what is left holds something that is no reading
    assert again.changed == 0, again.output[-4000:]
    assert rows_since(aws, start) == rows
