"""A kit's certificate in an independent MQTT client (Eclipse Paho)."""

import ssl
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

ENDPOINT = "sandbox-ats.iot.us-east-2.amazonaws.com"
THING = "kit-1"


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
