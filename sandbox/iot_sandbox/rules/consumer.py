"""The engine's session at the broker: messages in, acknowledged once their rules are done."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from paho.mqtt.client import MQTTMessage

from iot_sandbox.rules.connection import KEEP_ALIVE_SECONDS, Connection
from iot_sandbox.shared.sql.message import Message, Properties

log = logging.getLogger(__name__)

PREFIX = "$sandbox/rules/"
"""Where the broker's plugin puts every publish, with who sent it; see broker/plugin/plugin.c."""
RETRY_SECONDS = 0.5
FINISH_SECONDS = 10


class Consumer:
    """A persistent session: what arrives while the engine is away waits at the broker."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: Connection | None = None
        self._handle: Callable[[Message], Awaitable[None]] | None = None
        self._newest: dict[str, tuple[Connection, int]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        return self._connection is not None and self._connection.open

    @property
    def in_flight(self) -> int:
        """Messages that are being handled."""
        return len(self._tasks)

    async def run(self, handle: Callable[[Message], Awaitable[None]]) -> None:
        """Passes on each message until cancelled; then finishes and acknowledges those in progress."""
        self._handle = handle
        try:
            while True:
                await self._stay_connected()
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            if self._connection:
                self._connection.pause()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=FINISH_SECONDS)
            if self._connection:
                self._connection.close()

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """Publishes, with QoS 1 until the PUBACK; raises ConnectionError while there is no broker."""
        if self._connection is None:
            raise ConnectionError("The broker is not connected")
        await self._connection.publish(topic, payload, qos)

    async def _stay_connected(self) -> None:
        try:
            connection = Connection(self._path, PREFIX + "#", self._receive)
            await connection.ready
        except OSError as error:
            log.warning("The broker cannot be reached at %s: %s", self._path, error)
            return
        self._connection = connection
        log.info("Connected to the broker")
        while not connection.closed.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(connection.closed), KEEP_ALIVE_SECONDS / 4)
            connection.keep_alive()
        log.info("Disconnected from the broker")

    def _receive(self, connection: Connection, publish: MQTTMessage) -> None:
        try:
            message = parse(publish)
        except ValueError:
            log.exception("A message of the broker's plugin cannot be read: %s", publish.topic)
            connection.acknowledge(publish.mid)
            return
        known = message.trace_id in self._newest
        self._newest[message.trace_id] = connection, publish.mid
        if not known:  # otherwise the broker sent it again after a reconnect, while it is still being handled
            task = asyncio.get_running_loop().create_task(self._process(message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _process(self, message: Message) -> None:
        assert self._handle  # noqa: S101
        try:
            await self._handle(message)
        except Exception:
            log.exception("Message %s on %s failed", message.trace_id, message.topic)
        finally:
            connection, packet_id = self._newest.pop(message.trace_id)
            if packet_id:
                connection.acknowledge(packet_id)


def parse(publish: MQTTMessage) -> Message:
    """The message in a publish of the broker's plugin; raises ValueError."""
    at, trace_id, principal, address, client_id, topic = publish.topic[len(PREFIX) :].split("/", 5)
    return Message(
        topic=topic,
        payload=bytes(publish.payload),
        client_id=bytes.fromhex(client_id).decode(errors="replace"),
        principal=None if principal == "-" else principal,
        trace_id=trace_id,
        received_at=int(at),
        source_ip=address or None,
        properties=_properties(vars(publish.properties) if publish.properties else {}),
    )


def _properties(given: Mapping[str, Any]) -> Properties:
    """What rules see of a publish's properties, which paho names as the specification does."""
    return Properties(
        content_type=given.get("ContentType"),
        correlation_data=given.get("CorrelationData"),
        response_topic=given.get("ResponseTopic"),
        text=given.get("PayloadFormatIndicator") == 1,
        user=given.get("UserProperty", ()),
    )
