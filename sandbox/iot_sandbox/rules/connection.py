"""One connection of the rules engine to the broker: paho's MQTT 5 client on asyncio's loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

log = logging.getLogger(__name__)

CLIENT_ID = "$sandbox-rules-engine"
IN_FLIGHT = 2000
"""Messages that the broker sends before the first is acknowledged: the engine's queue."""
KEEP_ALIVE_SECONDS = 30
NEVER = 0xFFFFFFFF
"""Session expiry: the broker keeps the session for good."""


class Connection:
    """Resumes the session, subscribes, hands over publishes; each is acknowledged by ``acknowledge`` alone.

    ``ready`` is done once the subscription is confirmed, ``closed`` when the connection has ended.
    """

    def __init__(self, path: Path, topic_filter: str, receive: Callable[[Connection, MQTTMessage], None]) -> None:
        """Connects to the broker's local socket; raises OSError."""
        self._loop = loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._unacknowledged: dict[int, asyncio.Future[None]] = {}
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            CLIENT_ID,
            protocol=MQTTProtocolVersion.MQTTv5,
            transport="unix",
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._watch_socket()
        client.on_connect = lambda _client, _data, _flags, code, _properties: self._connected(code, topic_filter)
        client.on_subscribe = lambda *_: self.ready.set_result(None)
        client.on_message = lambda _client, _data, message: receive(self, message)
        client.on_publish = lambda _client, _data, mid, _code, _properties: self._published(mid)
        client.on_disconnect = lambda _client, _data, _flags, code, _properties: self._disconnected(code)
        client.connect(
            str(path),
            keepalive=KEEP_ALIVE_SECONDS,
            clean_start=False,
            properties=_properties(SessionExpiryInterval=NEVER, ReceiveMaximum=IN_FLIGHT),
        )

    def _watch_socket(self) -> None:
        client, loop = self._client, self._loop

        def closed(_client: Client, _data: Any, sock: Any) -> None:
            loop.remove_reader(sock)

        def written(_client: Client, _data: Any, sock: Any) -> None:
            loop.remove_writer(sock)

        client.on_socket_open = lambda _client, _data, sock: loop.add_reader(sock, client.loop_read)
        client.on_socket_close = closed
        client.on_socket_register_write = lambda _client, _data, sock: loop.add_writer(sock, client.loop_write)
        client.on_socket_unregister_write = written

    def _connected(self, code: ReasonCode, topic_filter: str) -> None:
        if code.is_failure:
            log.error("The broker refuses the rules engine: %s", code)
            return
        self._client.subscribe(topic_filter, 1)

    def _published(self, mid: int) -> None:
        waiting = self._unacknowledged.pop(mid, None)
        if waiting and not waiting.done():
            waiting.set_result(None)

    def _disconnected(self, code: ReasonCode) -> None:
        reason = ConnectionError(f"The broker closed the connection: {code}")
        for waiting in (self.ready, *self._unacknowledged.values()):
            if not waiting.done():
                waiting.set_exception(reason)
                waiting.exception()  # read once, so that asyncio does not log it if nobody awaits
        if not self.closed.done():
            self.closed.set_result(None)

    @property
    def open(self) -> bool:
        """Whether packets can be sent."""
        return self._client.is_connected()

    def acknowledge(self, packet_id: int) -> None:
        """Sends a PUBACK; without a connection, the broker sends the message again later."""
        if self.open:
            self._client.ack(packet_id, 1)

    def keep_alive(self) -> None:
        """Pings when nothing was sent for a while, and ends a connection whose ping has no answer."""
        self._client.loop_misc()

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """Publishes; with QoS 1 returns on PUBACK. Raises ConnectionError, or ValueError for what is no topic."""
        sent = self._client.publish(topic, payload, qos)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise ConnectionError("The broker is not connected")
        if qos:
            self._unacknowledged[sent.mid] = self._loop.create_future()
            await self._unacknowledged[sent.mid]

    def pause(self) -> None:
        """Takes no more messages; acknowledgements still go out."""
        if sock := self._client.socket():
            self._loop.remove_reader(sock)

    def close(self) -> None:
        """Ends the connection once what is still to be sent has gone out."""
        self._client.disconnect()
        while self._client.want_write() and self._client.loop_write() == MQTTErrorCode.MQTT_ERR_SUCCESS:
            pass


def _properties(**values: Any) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
