"""Shared by the tests of whole commands."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from awscrt import mqtt5
from awsiot import mqtt5_client_builder
from iot_device.connection import bootstrap
from iot_device.ledger import Ledger
from iot_device.reading import Reading, now
from iot_device.reasons import Refusal
from iot_device.run import Device
from iot_device.settings import Settings

from tests.device.a_broker import TOPIC
from tests.support.paths import ROOT


def degrees(device: str, temperature: float, taken: int | None = None) -> Reading:
    """A reading of a temperature alone."""
    return Reading(device, {"temp": temperature}, now() if taken is None else taken)


@contextmanager
def running(settings: Settings, ledger: Ledger | None = None, every: float | None = None) -> Iterator[Device]:
    """A device that runs as `iot-device run` does, and keeps house every so many seconds."""
    device, stop = Device(settings, ledger or Ledger()), threading.Event()
    if every is not None:
        device.engine._every = every
    thread = threading.Thread(target=device.run, args=(stop,))
    thread.start()
    try:
        yield device
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


class Answers(list[Refusal | None]):
    """The broker's answer to each message."""

    def __call__(self, refusal: Refusal | None) -> None:
        self.append(refusal)

    def wait(self, count: int) -> "Answers":
        until = time.monotonic() + 10
        while len(self) < count and time.monotonic() < until:
            time.sleep(0.02)
        return self


class Subscriber:
    """Listens to the topic with a session that outlives its connection and the broker, as the rules engine does."""

    def __init__(self, settings: Settings) -> None:
        self.messages: list[dict[str, object]] = []
        self.publishes = 0
        connected = threading.Event()
        self._client: Any = mqtt5_client_builder.mtls_from_path(
            cert_filepath=str(settings.certificate),
            pri_key_filepath=str(settings.key),
            ca_filepath=str(settings.ca),
            endpoint="localhost",
            port=settings.port,
            client_id="listener",
            client_bootstrap=bootstrap(),
            session_behavior=mqtt5.ClientSessionBehaviorType.REJOIN_ALWAYS,
            session_expiry_interval_sec=600,
            min_reconnect_delay_ms=100,
            max_reconnect_delay_ms=300,
            on_publish_received=self._receive,
            on_lifecycle_connection_success=lambda _: connected.set(),
        )
        self._client.start()
        assert connected.wait(10)
        topic = mqtt5.Subscription(topic_filter=TOPIC, qos=mqtt5.QoS.AT_LEAST_ONCE)
        self._client.subscribe(mqtt5.SubscribePacket(subscriptions=[topic])).result(10)

    def _receive(self, data: Any) -> None:
        payload = json.loads(data.publish_packet.payload)
        self.messages.extend(payload if isinstance(payload, list) else [payload])
        self.publishes += 1

    def wait(self, count: int, seconds: float = 15.0) -> list[dict[str, object]]:
        """Return the messages once so many have arrived."""
        until = time.monotonic() + seconds
        while len(self.messages) < count and time.monotonic() < until:
            time.sleep(0.02)
        return self.messages

    def stop(self) -> None:
        """End the connection."""
        self._client.stop()


def flags(settings: Settings) -> list[str]:
    """The settings as the command line takes them."""
    given = {one.name: getattr(settings, one.name) for one in fields(settings)}
    return [
        part
        for name, value in given.items()
        if value not in (None, "")
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]


started: "list[subprocess.Popen[str]]" = []  # by the test that runs


def start(*arguments: str, program: Sequence[str] = ("-m", "iot_device")) -> "subprocess.Popen[str]":
    """Start iot-device as a shell would."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "device"), "NO_COLOR": "1"}
    command = [sys.executable, *program, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    started.append(process)
    return process


def ask(*arguments: str) -> tuple[int, str]:
    """Run iot-device to its end; returns the status and what it printed."""
    process = start(*arguments)
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err
