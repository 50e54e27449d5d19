"""A device as any MQTT 5 client would be: paho, with a certificate of the test's CA."""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

PATIENCE = 10
"""Seconds to wait for an answer of the broker."""

ACKNOWLEDGED = ("Success", "No matching subscribers")
"""Reasons of a PUBACK that took the message; the second while no rules engine has ever subscribed."""


class Device:
    """A client that waits for each answer."""

    def __init__(
        self,
        port: int,
        client_id: str,
        *,
        certificate: Path | None,
        key: Path | None,
        ca: Path,
        protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
        clean_start: bool | Literal[3] = mqtt.MQTT_CLEAN_START_FIRST_ONLY,
    ) -> None:
        self.received: list[mqtt.MQTTMessage] = []
        self.connected, self.disconnected = threading.Event(), threading.Event()
        self.refusal: str | None = None
        self._answers: dict[int, ReasonCode] = {}
        self._answered = threading.Condition()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
        self._client.tls_set_context(context(ca, certificate, key))
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = lambda client, data, mid, code, properties: self._answer(mid, code)
        self._client.on_subscribe = lambda client, data, mid, codes, properties: self._answer(mid, codes[0])
        self._client.on_message = lambda client, data, message: self.received.append(message)
        try:
            self._client.connect("localhost", port, keepalive=30, clean_start=clean_start)
        except OSError as error:
            self.refusal = str(error)
            return
        self._client.loop_start()
        assert self.connected.wait(PATIENCE) or self.disconnected.is_set(), "neither admitted nor refused"

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _on_connect(self, client: mqtt.Client, data: Any, flags: Any, code: ReasonCode, properties: Any) -> None:
        if code.is_failure:
            self.refusal = str(code)
            client.disconnect()
        self.connected.set()

    def _on_disconnect(self, client: mqtt.Client, data: Any, flags: Any, code: Any, properties: Any) -> None:
        self.disconnected.set()
        self.connected.set()
        client.disconnect()  # or paho would try again
        with self._answered:
            self._answered.notify_all()

    def _answer(self, mid: int, code: ReasonCode) -> None:
        with self._answered:
            self._answers[mid] = code
            self._answered.notify_all()

    def _wait(self, mid: int | None) -> str | None:
        assert mid is not None
        with self._answered:
            self._answered.wait_for(lambda: mid in self._answers or self.disconnected.is_set(), PATIENCE)
        answer = self._answers.get(mid)
        return str(answer) if answer is not None else None

    def publish(
        self,
        topic: str,
        payload: bytes | str = b"{}",
        qos: int = 1,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> str | None:
        """The reason of the PUBACK, or None if the connection ended without one."""
        return self._wait(self._client.publish(topic, payload, qos, retain, properties).mid)

    def subscribe(self, topic_filter: str) -> str | None:
        """The reason of the SUBACK."""
        return self._wait(self._client.subscribe(topic_filter, 1)[1])

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def context(ca: Path, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=ca)
    if certificate:
        made.load_cert_chain(certificate, key)
    return made
