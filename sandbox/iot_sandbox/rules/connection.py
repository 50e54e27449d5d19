"""One connection of the rules engine to the broker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from iot_sandbox.rules import mqtt
from iot_sandbox.rules.mqtt import Packet

log = logging.getLogger(__name__)

SUBSCRIBE_ID = 1
"""Packet ids of publishes begin after it."""


class Connection(asyncio.Protocol):
    """Connects, subscribes, hands over publishes and sends their acknowledgements.

    ``ready`` is done once the subscription stands, ``closed`` when the connection has ended.
    """

    def __init__(self, greeting: bytes, topic_filter: str, receive: Callable[[Connection, mqtt.Publish], None]) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._greeting, self._filter, self._receive = greeting, topic_filter, receive
        self._transport: asyncio.Transport | None = None
        self._decoder = mqtt.Decoder()
        self._out = bytearray()
        self._next_id = SUBSCRIBE_ID
        self._unacknowledged: dict[int, asyncio.Future[None]] = {}
        self.ready: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._greeting)

    def data_received(self, data: bytes) -> None:
        try:
            for first, body in self._decoder.feed(data):
                self._handle(first, body)
        except mqtt.ProtocolError:
            log.exception("The broker sent what is not MQTT 5")
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        reason = ConnectionError(f"The broker closed the connection: {error or 'end of stream'}")
        for waiting in (self.ready, *self._unacknowledged.values()):
            if not waiting.done():
                waiting.set_exception(reason)
                waiting.exception()  # whoever awaits it gets it; nobody need
        if not self.closed.done():
            self.closed.set_result(None)

    # ---- packets

    def _handle(self, first: int, body: bytes) -> None:
        match first & 0xF0:
            case Packet.PUBLISH:
                self._receive(self, mqtt.decode_publish(first, body))
            case Packet.PUBACK:
                waiting = self._unacknowledged.pop(int.from_bytes(body[:2]), None)
                if waiting and not waiting.done():
                    waiting.set_result(None)
            case Packet.CONNACK if body[1:2] == b"\x00":
                self._send(mqtt.subscribe(SUBSCRIBE_ID, self._filter))
            case Packet.CONNACK:
                log.error("The broker refuses the rules engine: reason 0x%s", body[1:2].hex())
                self.abort()
            case Packet.SUBACK:
                self.ready.set_result(None)
            case Packet.DISCONNECT:
                log.warning("The broker ends the connection: reason 0x%s", body[:1].hex() or "00")

    def _send(self, packet: bytes) -> None:
        """Everything of one turn of the event loop goes out together."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out += packet

    def _flush(self) -> None:
        if self._transport:
            self._transport.write(bytes(self._out))
        self._out.clear()

    # ---- for the consumer

    @property
    def open(self) -> bool:
        """Whether packets can be sent."""
        return self._transport is not None

    def acknowledge(self, packet_id: int) -> None:
        """Sends a PUBACK; without a connection nothing happens, and the broker hands the message over again."""
        if self._transport:
            self._send(mqtt.puback(packet_id))

    def ping(self) -> None:
        """Keeps the connection alive."""
        self._send(mqtt.PINGREQ)

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """Publishes; with QoS 1 returns on PUBACK. Raises ConnectionError."""
        if not self._transport:
            raise ConnectionError("The broker is not connected")
        if qos == 0:
            self._send(mqtt.publish(topic, payload, 0))
            return
        self._next_id = self._next_id % 0xFFFF + 1
        if self._next_id == SUBSCRIBE_ID:
            self._next_id += 1
        waiting = self._unacknowledged[self._next_id] = self._loop.create_future()
        self._send(mqtt.publish(topic, payload, self._next_id))
        await waiting

    def pause(self) -> None:
        """Takes no more messages; acknowledgements still go out."""
        if self._transport:
            self._transport.pause_reading()

    def close(self) -> None:
        """Says goodbye after what is still to be sent."""
        if self._transport:
            self._send(mqtt.DISCONNECT)
            self._flush()
            self._transport.close()

    def abort(self) -> None:
        """Closes without a word."""
        if self._transport:
            self._transport.abort()
