"""Packets of MQTT 5, as the specification lays them out."""

from __future__ import annotations

import pytest
from iot_sandbox.rules import mqtt
from iot_sandbox.rules.mqtt import Decoder, Property, Publish, decode_publish

PUBLISH = bytes.fromhex(
    "32 2d 0003 612f62 0007"  # QoS 1, topic a/b, packet 7
    "1e 0101 02 0000003c 03 0001 74 08 0001 72 09 0002 00ff 0b ac02 26 0001 6b 0001 76"
    "78797a7b7c7d7e"
)


def test_a_publish_with_all_properties() -> None:
    ((first, body),) = Decoder().feed(PUBLISH)
    assert decode_publish(first, body) == Publish(
        "a/b",
        b"xyz{|}~",
        7,
        {
            Property.PAYLOAD_FORMAT: 1,
            Property.MESSAGE_EXPIRY: 60,
            Property.CONTENT_TYPE: b"t",
            Property.RESPONSE_TOPIC: b"r",
            Property.CORRELATION_DATA: b"\x00\xff",
        },
        [("k", "v")],
    )


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 20_000, 2_097_152])
def test_what_is_written_can_be_read(size: int) -> None:
    payload = b"x" * size
    for packet_id in (0, 1, 65_535):
        ((first, body),) = Decoder().feed(mqtt.publish("t/ü", payload, packet_id))
        assert decode_publish(first, body) == Publish("t/ü", payload, packet_id)


def test_packets_come_in_any_pieces() -> None:
    stream = mqtt.puback(3) + PUBLISH + mqtt.PINGREQ + PUBLISH
    decoder = Decoder()
    found: list[tuple[int, bytes]] = []
    for byte in stream:
        found += decoder.feed(bytes([byte]))
    assert found == list(Decoder().feed(stream))
    assert [first for first, _ in found] == [0x40, 0x32, 0xC0, 0x32]


def test_connect_and_subscribe() -> None:
    assert mqtt.connect("id", 30, 2000).hex() == (
        "1017" + "00044d515454" + "05" + "00" + "001e" + "08" + "11ffffffff" + "2107d0" + "00026964"
    )
    assert mqtt.subscribe(1, "a/#").hex() == "8209" + "0001" + "00" + "0003612f23" + "01"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "0005 61",
        "0001 61 0001",
        "0001 61 0001 05 7f",
        "0001 61 0001 04 26 0009 61",
        "0001 ff 0001 00",
        "0001 61 0001 ff",
    ],
)
def test_a_broken_publish_is_refused(body: str) -> None:
    with pytest.raises(mqtt.ProtocolError):
        decode_publish(0x32, bytes.fromhex(body))


def test_an_endless_length_is_refused() -> None:
    with pytest.raises(mqtt.ProtocolError):
        list(Decoder().feed(b"\x30\xff\xff\xff\xff\xff"))
