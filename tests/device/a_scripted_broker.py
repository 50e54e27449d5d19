"""A broker over mutual TLS that answers as a test decides, with codes that mosquitto never sends.

MQTT 5.0 (https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html); only what a publisher with QoS 1 needs.
"""

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

CONNECT, PUBLISH, PINGREQ, DISCONNECT = 1, 3, 12, 14
CONNACK, PUBACK, PINGRESP = 0x20, 0x40, 0xD0
NOT_AUTHORIZED, TOO_LARGE, QUOTA_EXCEEDED, INVALID = 0x87, 0x95, 0x97, 0x99


@dataclass(frozen=True)
class Cut:
    """An answer that ends the connection, with or without a reason."""

    reason: int | None = None


Answer = int | Cut | None
"""A PUBACK's reason code; how the connection ends; or None for silence."""


@dataclass
class Arrived:
    """A reading, in the publish of that number; `at` is monotonic."""

    message: dict[str, Any]
    at: float
    publish: int


@dataclass
class ScriptedBroker:
    """`on_publish` decides the answer to each reading, `on_connect` the CONNACK's reason code.

    A publish of several readings gets the first answer that is no success.
    """

    folder: Path
    on_publish: Callable[[dict[str, Any]], Answer] = lambda message: 0
    on_connect: Callable[[], int] = lambda: 0
    arrived: list[Arrived] = field(default_factory=list)
    connects: list[float] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)
    """Of each publish."""
    largest: int = 0
    """Bytes of the largest payload."""

    def __enter__(self) -> "ScriptedBroker":
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.folder / "ca.crt"))
        self._context.load_cert_chain(self.folder / "broker.crt", self.folder / "broker.key")
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._links: list[ssl.SSLSocket] = []
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        for link in self._links:
            link.close()

    @property
    def publishes(self) -> int:
        """How many publishes arrived, each with one reading or several."""
        return len(self.topics)

    @property
    def ids(self) -> set[str]:
        """Ids that arrived: a reading in flight when a connection broke is sent twice, under the same id."""
        return {one.message["messageId"] for one in self.arrived}

    def wait(self, count: int, seconds: float = 10.0) -> list[dict[str, Any]]:
        """Return the messages once so many have arrived."""
        until = time.monotonic() + seconds
        while len(self.arrived) < count and time.monotonic() < until:
            time.sleep(0.01)
        return [one.message for one in self.arrived]

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self._server.accept()
                secured = self._context.wrap_socket(link, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            self._links.append(secured)
            threading.Thread(target=self._serve, args=(secured,), daemon=True).start()

    def _serve(self, link: ssl.SSLSocket) -> None:
        stream = link.makefile("rb")
        try:
            while head := stream.read(1):
                body = stream.read(_length(stream))
                if not self._act(link, head[0], body):
                    break
        except OSError:
            pass
        finally:
            link.close()

    def _act(self, link: ssl.SSLSocket, head: int, body: bytes) -> bool:
        kind = head >> 4
        if kind == CONNECT:
            self.connects.append(time.monotonic())
            code = self.on_connect()
            link.sendall(bytes([CONNACK, 3, 0, code, 0]))
            return code == 0
        if kind == PINGREQ:
            link.sendall(bytes([PINGRESP, 0]))
        return self._answer(link, body) if kind == PUBLISH else kind != DISCONNECT

    def _answer(self, link: ssl.SSLSocket, body: bytes) -> bool:
        after_topic = 2 + struct.unpack_from(">H", body)[0]
        self.topics.append(body[2:after_topic].decode())
        packet = body[after_topic : after_topic + 2]
        at = after_topic + 2
        payload = body[at + 1 + body[at] :]  # properties of less than 128 bytes
        self.largest = max(self.largest, len(payload))
        answer: Answer = 0
        found = json.loads(payload)
        for message in found if isinstance(found, list) else [found]:
            self.arrived.append(Arrived(message, time.monotonic(), self.publishes))
            answer = self.on_publish(message) if answer == 0 else answer
        if isinstance(answer, Cut):
            if answer.reason is not None:
                link.sendall(bytes([DISCONNECT << 4, 2, answer.reason, 0]))
            return False
        if answer is not None:
            link.sendall(bytes([PUBACK, 4, *packet, answer, 0]))
        return True


def _length(stream: BinaryIO) -> int:
    total, shift = 0, 0
    while True:
        [byte] = stream.read(1)
        total |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return total
