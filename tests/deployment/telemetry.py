"""Test devices that publish at a steady rate, with a ledger of what the broker acknowledged."""

import json
import ssl
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.deployment.conftest import TABLE
from tests.support.paths import STATE

ENDPOINT = "sandbox-ats.iot.us-east-2.amazonaws.com"
TOPIC = "things/telemetry"
POLICY = "iot-thing-policy"
PER_DEVICE = 100  # messages a second: IoT Core takes no more from one connection
NAMELESS = 5  # every so many readings one has neither time nor id and is identified by its temperature


@contextmanager
def thing(iot: Any, folder: Path) -> Iterator[str]:
    """A thing, and its certificate in a folder, until the block ends."""
    name = f"load-{uuid.uuid4().hex[:8]}"
    iot.create_thing(thingName=name)
    made = iot.create_keys_and_certificate(setAsActive=True)
    arn, identity = made["certificateArn"], made["certificateId"]
    iot.attach_policy(policyName=POLICY, target=arn)
    iot.attach_thing_principal(thingName=name, principal=arn)
    (folder / f"{name}.crt").write_text(made["certificatePem"])
    (folder / f"{name}.key").write_text(made["keyPair"]["PrivateKey"])
    try:
        yield name
    finally:
        iot.detach_thing_principal(thingName=name, principal=arn)
        iot.detach_policy(policyName=POLICY, target=arn)
        iot.update_certificate(certificateId=identity, newStatus="INACTIVE")
        iot.delete_certificate(certificateId=identity)
        iot.delete_thing(thingName=name)


class Device:
    """One connection that publishes until it is stopped and records acknowledgements."""

    def __init__(self, name: str, folder: Path, rate: float) -> None:
        self.name, self.rate = name, rate
        self._sent: dict[int, str] = {}  # by MQTT's packet identifiers, of which there are 65,535
        self._acknowledged: set[int] = set()
        self._stop, self._connected = threading.Event(), threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        context = ssl.create_default_context(cafile=str(STATE / "ca" / "ca.crt"))
        context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
        self._client.tls_set_context(context)
        self._client.on_connect = lambda *_: self._connected.set()
        # no lock: Paho holds its own around this
        self._client.on_publish = lambda _client, _data, number, *_: self._acknowledged.add(number)
        self._thread = threading.Thread(target=self._publish)

    @property
    def taken(self) -> set[str]:
        """Ids, or temperatures, of the readings that the broker acknowledged."""
        return {self._sent[number] for number in self._acknowledged & self._sent.keys()}

    def start(self) -> None:
        """Connect and start to publish."""
        self._client.connect(ENDPOINT, 8883, keepalive=20)
        self._client.loop_start()
        assert self._connected.wait(20), "the broker refuses the test's device"
        self._thread.start()

    def stop(self) -> None:
        """Stop publishing, and wait for outstanding acknowledgements."""
        self._stop.set()
        self._thread.join()
        until = time.monotonic() + 20
        while len(self._acknowledged) < len(self._sent) and time.monotonic() < until:
            time.sleep(0.05)
        self._client.disconnect()
        self._client.loop_stop()

    def _publish(self) -> None:
        due, count = time.monotonic(), 0
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due, count = due + 1 / self.rate, count + 1
            message = {"deviceId": self.name, "temp": count}
            if count % NAMELESS:
                message |= {"ts": int(time.time() * 1000), "messageId": str(count)}
            self._sent[self._client.publish(TOPIC, json.dumps(message), qos=1).mid] = str(count)


class Telemetry:
    """Several devices, and the rows of their readings."""

    def __init__(self, devices: list[Device], dynamodb: Any) -> None:
        self._devices, self._dynamodb = devices, dynamodb

    @property
    def published(self) -> int:
        """The readings that the broker acknowledged."""
        return sum(len(device.taken) for device in self._devices)

    def stop(self) -> None:
        """Stop publishing."""
        for device in self._devices:
            device.stop()

    def rows(self) -> Counter[str]:
        """The number of rows of each reading."""
        return Counter(f"{device.name} {identity}" for device in self._devices for identity in self._rows(device.name))

    def missing(self, wait: float) -> list[str]:
        """Acknowledged readings without a row; waits some seconds for the last ones."""
        until = time.monotonic() + wait
        while True:
            taken = {f"{device.name} {identity}" for device in self._devices for identity in device.taken}
            missing = sorted(taken - self.rows().keys())
            if not missing or time.monotonic() > until:
                return missing
            time.sleep(1)

    def _rows(self, name: str) -> list[str]:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=TABLE, KeyConditionExpression="deviceId = :d", ConsistentRead=True,
            ExpressionAttributeValues={":d": {"S": name}})
        return [item["temperature"]["N"] if "trace_id" in item else item["Time"]["S"].partition("#")[2]
                for page in pages for item in page["Items"]]


@contextmanager
def telemetry(aws: Any, folder: Path, rate: int) -> Iterator[Telemetry]:
    """Readings at a rate for all devices together, until the block ends."""
    with ExitStack() as stack:
        names = [stack.enter_context(thing(aws("iot"), folder)) for _ in range(-(-rate // PER_DEVICE))]
        devices = [Device(name, folder, rate / len(names)) for name in names]
        time.sleep(2)  # the broker looks at the IoT API each second
        load = Telemetry(devices, aws("dynamodb"))
        for device in devices:
            device.start()
            stack.callback(device.stop)
        yield load
