"""The engine's connection to the broker: messages in, acknowledged once their rules are done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.subscribeoptions import SubscribeOptions

from iot_sandbox.rules.message import Message, Properties

log = logging.getLogger(__name__)

CLIENT_ID = "$sandbox-rules-engine"
PREFIX = "$sandbox/rules/"
"""Where the broker's plugin puts every publish, with who sent it; see broker/plugin/plugin.c."""
IN_FLIGHT = 2000
"""Messages that the broker hands over before the first of them is acknowledged: the engine's queue."""
NEVER = 0xFFFFFFFF
RETRY_SECONDS = 0.5


class Consumer:
    """A persistent session: what arrives while the engine is away waits at the broker.

    A message is acknowledged only once it has been handled.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, CLIENT_ID, protocol=mqtt.MQTTv5, transport="unix", manual_ack=True
        )
        self._client.on_socket_open = self._on_socket_open
        self._client.on_socket_close = self._on_socket_close
        self._client.on_socket_register_write = self._on_register_write
        self._client.on_socket_unregister_write = self._on_unregister_write
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._disconnected = asyncio.Event()
        self._session = 0
        self._newest: dict[str, tuple[int, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._published: dict[int, asyncio.Future[None]] = {}

    @property
    def connected(self) -> bool:
        return self._client.is_connected()

    @property
    def in_flight(self) -> int:
        """Messages that are being handled."""
        return len(self._tasks)

    async def run(self, handle: Callable[[Message], Awaitable[None]]) -> None:
        """Hands over each message until cancelled; then finishes what is in hand."""
        self._handle = handle
        try:
            while True:
                await self._stay_connected()
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            await self._stop()

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """Publishes; raises ValueError for what is no topic, ConnectionError while there is no broker."""
        if not self.connected:
            raise ConnectionError("The broker is not connected")
        mid = self._client.publish(topic, payload, qos).mid
        self._published[mid] = asyncio.get_running_loop().create_future()
        await self._published[mid]

    async def _stay_connected(self) -> None:
        properties = PahoProperties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = NEVER
        properties.ReceiveMaximum = IN_FLIGHT
        self._disconnected.clear()
        try:
            self._client.connect(str(self._path), 1, keepalive=30, clean_start=False, properties=properties)
        except OSError as error:
            log.warning("The broker cannot be reached at %s: %s", self._path, error)
            return
        while not self._disconnected.is_set():
            self._client.loop_misc()
            try:
                await asyncio.wait_for(self._disconnected.wait(), 1)
            except TimeoutError:
                continue

    async def _stop(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10)
        self._client.disconnect()

    # ---- paho's callbacks, all on the event loop

    def _on_connect(self, client: mqtt.Client, data: Any, flags: Any, code: Any, properties: Any) -> None:
        if code.is_failure:
            log.error("The broker refuses the rules engine: %s", code)
            return
        self._session += 1
        client.subscribe(PREFIX + "#", options=SubscribeOptions(qos=1))
        log.info("Connected to the broker")

    def _on_disconnect(self, client: mqtt.Client, data: Any, flags: Any, code: Any, properties: Any) -> None:
        log.info("Disconnected from the broker: %s", code)
        self._disconnected.set()
        for waiting in self._published.values():
            waiting.set_exception(ConnectionError("The broker closed the connection"))
        self._published.clear()

    def _on_publish(self, client: mqtt.Client, data: Any, mid: int, code: Any, properties: Any) -> None:
        waiting = self._published.pop(mid, None)
        if waiting:
            waiting.set_result(None)

    def _on_message(self, client: mqtt.Client, data: Any, received: mqtt.MQTTMessage) -> None:
        message = parse(received)
        if message.trace_id in self._newest:
            self._newest[message.trace_id] = (
                self._session,
                received.mid,
            )  # handed over again after a reconnect
            return
        self._newest[message.trace_id] = self._session, received.mid
        task = asyncio.get_running_loop().create_task(self._process(message, received.qos))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _process(self, message: Message, qos: int) -> None:
        try:
            await self._handle(message)
        except Exception:
            log.exception("Message %s on %s failed", message.trace_id, message.topic)
        finally:
            session, mid = self._newest.pop(message.trace_id)
            if qos and session == self._session and self.connected:
                self._client.ack(mid, qos)

    def _on_socket_open(self, client: mqtt.Client, data: Any, sock: Any) -> None:
        asyncio.get_running_loop().add_reader(sock, client.loop_read)

    def _on_socket_close(self, client: mqtt.Client, data: Any, sock: Any) -> None:
        asyncio.get_running_loop().remove_reader(sock)
        self._disconnected.set()

    def _on_register_write(self, client: mqtt.Client, data: Any, sock: Any) -> None:
        asyncio.get_running_loop().add_writer(sock, client.loop_write)

    def _on_unregister_write(self, client: mqtt.Client, data: Any, sock: Any) -> None:
        asyncio.get_running_loop().remove_writer(sock)


def parse(received: mqtt.MQTTMessage) -> Message:
    """A message out of what the plugin made of a publish."""
    at, trace_id, principal, address, client_id, topic = received.topic[len(PREFIX) :].split("/", 5)
    return Message(
        topic=topic,
        payload=bytes(received.payload),
        client_id=bytes.fromhex(client_id).decode(errors="replace"),
        principal=None if principal == "-" else principal,
        trace_id=trace_id,
        received_at=int(at),
        source_ip=address or None,
        properties=_properties(received.properties),
    )


def _properties(given: PahoProperties | None) -> Properties:
    if given is None or given.isEmpty():  # type: ignore[no-untyped-call]
        return Properties()
    return Properties(
        content_type=getattr(given, "ContentType", None),
        correlation_data=getattr(given, "CorrelationData", None),
        response_topic=getattr(given, "ResponseTopic", None),
        text=getattr(given, "PayloadFormatIndicator", 0) == 1,
        user=tuple(getattr(given, "UserProperty", ())),
    )
