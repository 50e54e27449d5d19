"""The part of MQTT 5 that the rules engine speaks, for many small messages at little cost.

General clients spend several system calls on each packet; this one takes what has arrived at once
and sends the acknowledgements of one turn of the event loop together.
https://docs.oasis-open.org/mqtt/mqtt/v5.0/os/mqtt-v5.0-os.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum


class Packet(IntEnum):
    """Packet types, as the first byte has them: the type in its upper half, fixed flags in the lower."""

    CONNECT = 0x10
    CONNACK = 0x20
    PUBLISH = 0x30
    PUBACK = 0x40
    SUBSCRIBE = 0x82
    SUBACK = 0x90
    PINGREQ = 0xC0
    PINGRESP = 0xD0
    DISCONNECT = 0xE0


class Property(IntEnum):
    """Properties of a PUBLISH that reach a subscriber, and those of our CONNECT."""

    PAYLOAD_FORMAT = 0x01
    MESSAGE_EXPIRY = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_ID = 0x0B
    SESSION_EXPIRY = 0x11
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS = 0x23
    USER_PROPERTY = 0x26


NEVER = 0xFFFFFFFF
"""Session expiry: the broker keeps the session for good."""


class ProtocolError(ValueError):
    """The other side does not speak MQTT 5."""


@dataclass(slots=True)
class Publish:
    """A PUBLISH as received; ``packet_id`` is 0 for QoS 0."""

    topic: str
    payload: bytes
    packet_id: int
    properties: dict[Property, bytes | int] = field(default_factory=dict)
    user_properties: list[tuple[str, str]] = field(default_factory=list)


def connect(client_id: str, keep_alive: int, receive_maximum: int) -> bytes:
    """CONNECT that resumes the session, which never expires; ``keep_alive`` in seconds."""
    properties = struct.pack(">BIBH", Property.SESSION_EXPIRY, NEVER, Property.RECEIVE_MAXIMUM, receive_maximum)
    head = _binary(b"MQTT") + struct.pack(">BBHB", 5, 0, keep_alive, len(properties))
    return _packet(Packet.CONNECT, head + properties + _binary(client_id.encode()))


def subscribe(packet_id: int, topic_filter: str) -> bytes:
    """SUBSCRIBE with QoS 1."""
    return _packet(Packet.SUBSCRIBE, struct.pack(">HB", packet_id, 0) + _binary(topic_filter.encode()) + b"\x01")


def publish(topic: str, payload: bytes, packet_id: int) -> bytes:
    """PUBLISH with QoS 1, or with QoS 0 if the packet id is 0."""
    identifier = struct.pack(">H", packet_id) if packet_id else b""
    body = _binary(topic.encode()) + identifier + b"\x00" + payload
    return _packet(Packet.PUBLISH | (0x02 if packet_id else 0), body)


def puback(packet_id: int) -> bytes:
    """PUBACK that says success."""
    return struct.pack(">BBH", Packet.PUBACK, 2, packet_id)


PINGREQ = bytes([Packet.PINGREQ, 0])
DISCONNECT = bytes([Packet.DISCONNECT, 0])


def _binary(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def _packet(kind: int, body: bytes) -> bytes:
    length = bytearray()
    rest = len(body)
    while True:
        rest, digit = divmod(rest, 128)
        length.append(digit | (0x80 if rest else 0))
        if not rest:
            return bytes([kind]) + length + body


def _variable_integer(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """The integer at a position and what position follows it; None while it is not complete."""
    value = shift = 0
    for position in range(at, min(at + 4, len(data))):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position + 1
        shift += 7
    if len(data) - at >= 4:
        raise ProtocolError("An integer is longer than four bytes")
    return None


class Decoder:
    """Cuts what arrives into packets: first byte and body."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """The packets that are complete now; raises ProtocolError."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= 2:
            length = _variable_integer(buffer, at + 1)
            if length is None or len(buffer) < length[0] + length[1]:
                break
            end = length[0] + length[1]
            yield buffer[at], bytes(buffer[length[1] : end])
            at = end
        del buffer[:at]


def decode_publish(first: int, body: bytes) -> Publish:
    """A PUBLISH from its first byte and body; raises ProtocolError."""
    try:
        (length,) = struct.unpack_from(">H", body)
        at = 2 + length
        topic = body[2:at].decode()
        packet_id = 0
        if first & 0x06:
            (packet_id,) = struct.unpack_from(">H", body, at)
            at += 2
        if body[at] == 0:
            return Publish(topic, body[at + 1 :], packet_id)
        found = _variable_integer(body, at)
        if found is None:
            raise ProtocolError("A packet ends within its properties")
        end = found[0] + found[1]
        message = Publish(topic, body[end:], packet_id)
        _read_properties(body[found[1] : end], message)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ProtocolError(f"A PUBLISH cannot be read: {error}") from error
    return message


_FIXED = {Property.PAYLOAD_FORMAT: ">B", Property.MESSAGE_EXPIRY: ">I", Property.TOPIC_ALIAS: ">H"}


def _read_properties(data: bytes, message: Publish) -> None:
    at = 0
    while at < len(data):
        try:
            kind = Property(data[at])
        except ValueError as error:
            raise ProtocolError(f"A PUBLISH has no property {data[at]}") from error
        at += 1
        if kind in _FIXED:
            (message.properties[kind],) = struct.unpack_from(_FIXED[kind], data, at)
            at += struct.calcsize(_FIXED[kind])
        elif kind is Property.SUBSCRIPTION_ID:
            _, at = _variable_integer(data, at) or (0, len(data))
        elif kind is Property.USER_PROPERTY:
            name, at = _read_binary(data, at)
            value, at = _read_binary(data, at)
            message.user_properties.append((name.decode(), value.decode()))
        else:
            message.properties[kind], at = _read_binary(data, at)


def _read_binary(data: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from(">H", data, at)
    end = at + 2 + length
    if end > len(data):
        raise ProtocolError("A property is cut off")
    return data[at + 2 : end], end
