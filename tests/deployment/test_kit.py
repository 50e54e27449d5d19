"""A kit's certificate, used by an independent MQTT client (Eclipse Paho)."""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.deployment.conftest import TABLE
from tests.deployment.kit import THING, Device

Aws = Callable[[str], Any]


@pytest.fixture
def device(kit: Path) -> Iterator[Device]:
    """The kit's device, connected as itself."""
    connection = Device(kit, THING).open()
    assert connection.connected.wait(10)
    yield connection
    connection.close()


def rows(aws: Aws, message: str, device: str = THING) -> list[dict[str, Any]]:
    """A device's rows that carry this message id."""
    found = aws("dynamodb").query(TableName=TABLE, KeyConditionExpression="deviceId = :d",
                                  ExpressionAttributeValues={":d": {"S": device}})["Items"]
    return [item for item in found if item["Time"]["S"].endswith(f"#{message}")]


def reading(message: str, device: str = THING) -> str:
    """A reading as a device publishes it."""
    now = int(time.time() * 1000)
    return json.dumps({"deviceId": device, "temp": 19.75, "ts": now, "messageId": message})


def test_a_reading_of_the_kit_is_one_row(device: Device, aws: Aws) -> None:
    message = str(uuid.uuid4())
    device.client.publish("things/telemetry", reading(message), qos=1).wait_for_publish(10)
    deadline = time.monotonic() + 15
    while not rows(aws, message) and time.monotonic() < deadline:
        time.sleep(0.3)
    [row] = rows(aws, message)
    assert row["temperature"] == {"N": "19.75"}


def test_another_topic_is_refused_and_the_connection_ended(device: Device) -> None:
    device.client.publish("things/other", "{}", qos=1)
    assert device.refused.wait(10)


def test_subscribing_brings_nothing(device: Device) -> None:
    received: list[str] = []
    device.client.on_message = lambda _c, _u, message: received.append(message.topic)
    device.client.subscribe("#", qos=1)
    device.client.publish("things/telemetry", reading(str(uuid.uuid4())), qos=1)
    time.sleep(2)
    assert received == []


def test_another_client_id_is_refused(kit: Path) -> None:
    impostor = Device(kit, "iot-verify").open()
    assert impostor.refused.wait(10)
    assert not impostor.connected.is_set()
    impostor.close()


def test_another_devices_reading_is_no_row(device: Device, aws: Aws) -> None:
    message = str(uuid.uuid4())
    forged = reading(message, device="iot-verify")
    device.client.publish("things/telemetry", forged, qos=1).wait_for_publish(10)
    time.sleep(3)
    assert rows(aws, message, device="iot-verify") == []


def test_forged_members_and_properties_change_nothing(device: Device, aws: Aws) -> None:
    message = str(uuid.uuid4())
    forged = json.loads(reading(message, device="iot-verify")) | {"iot_client_id": "iot-verify"}
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves this one untyped
    properties.UserProperty = [("client-id", "iot-verify"), ("clientid", "iot-verify")]
    published = device.client.publish("things/telemetry", json.dumps(forged), qos=1, properties=properties)
    published.wait_for_publish(10)
    time.sleep(3)
    assert rows(aws, message, device="iot-verify") == []
