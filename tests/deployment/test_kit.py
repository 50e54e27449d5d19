"""A kit's certificate, used by an independent MQTT client (Eclipse Paho)."""

import json
import ssl
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.deployment.conftest import TABLE
from tests.support.paths import ROOT

Aws = Callable[[str], Any]
ENDPOINT = "sandbox-ats.iot.us-east-2.amazonaws.com"
THING = "kit-1"


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit, unzipped."""
    archive = ROOT / "build" / "iot-receiver" / "kits" / f"{THING}.zip"
    assert archive.stat().st_mode & 0o077 == 0
    folder = tmp_path_factory.mktemp("kit")
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder)
    return folder


class Device:
    """A connection that records the broker's answers."""

    def __init__(self, kit: Path, client_id: str) -> None:
        self.connected, self.refused = threading.Event(), threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5)
        context = ssl.create_default_context(cafile=str(next(kit.rglob("AmazonRootCA1.pem"))))
        context.load_cert_chain(next(kit.rglob("device.pem.crt")), next(kit.rglob("private.pem.key")))
        self.client.tls_set_context(context)
        self.client.on_connect = self._connect
        self.client.on_disconnect = lambda *_: self.refused.set()

    def _connect(self, _c: mqtt.Client, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        (self.refused if reason.is_failure else self.connected).set()

    def open(self) -> "Device":
        self.client.connect(ENDPOINT, 8883, keepalive=20)
        self.client.loop_start()
        return self

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


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
