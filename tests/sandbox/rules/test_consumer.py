"""No message is lost or seen twice as two, however often broker and engine stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from iot_sandbox.broker.table import Certificate
from iot_sandbox.rules.consumer import Consumer
from iot_sandbox.shared.sql.message import Message
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.sandbox.broker.devices import Device
from tests.sandbox.broker.mosquitto import Broker
from tests.support.certificates import Authority, Identity
from tests.support.waiting import until

EVERYTHING = json.dumps({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
Handle = Callable[[Message], Awaitable[None]]


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Identity:
    return authority.issue("device")


@pytest.fixture
def admitting(broker: Broker, identity: Identity) -> Broker:
    broker.set_policies([Certificate(identity.id, (EVERYTHING,))])
    until(lambda: broker.log.read_text().count("Policy table is loaded") > 1, otherwise="the table is not followed")
    return broker


def device(broker: Broker, identity: Identity, client_id: str = "sensor-1") -> Device:
    ca = broker.authority.certificate
    return Device(broker.port, client_id, certificate=identity.certificate, key=identity.key, ca=ca)


@asynccontextmanager
async def consuming(broker: Broker, handle: Handle) -> AsyncIterator[Consumer]:
    consumer = Consumer(broker.socket)
    task = asyncio.create_task(consumer.run(handle))
    await comes(lambda: consumer.connected)
    yield consumer
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def comes(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(until, condition, 20, "it does not come to be")


async def test_the_engine_knows_who_published(admitting: Broker, identity: Identity) -> None:
    seen: list[Message] = []

    async def handle(message: Message) -> None:
        seen.append(message)

    properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [("iot_client_id", "forged"), ("k", "v")]
    properties.ContentType = "application/json"
    properties.PayloadFormatIndicator = 1
    properties.CorrelationData = b"\x00"
    properties.ResponseTopic = "r"
    async with consuming(admitting, handle):

        def publish() -> None:
            with device(admitting, identity, "a/b+#ü") as odd:
                assert odd.publish("t/x", b"\x00\xff", properties=properties) == "Success"
                odd.publish("t/y", b"0", qos=0)

        await asyncio.to_thread(publish)
        await comes(lambda: len(seen) == 2)
    first, second = seen
    assert (first.topic, first.payload, first.client_id) == ("t/x", b"\x00\xff", "a/b+#ü")
    assert (first.principal, first.source_ip) == (identity.id, "127.0.0.1")
    assert first.properties.user == [("iot_client_id", "forged"), ("k", "v")]
    assert (first.properties.content_type, first.properties.text) == ("application/json", True)
    assert (first.properties.correlation_data, first.properties.response_topic) == (b"\x00", "r")
    assert (second.topic, second.client_id, second.properties.user) == ("t/y", "a/b+#ü", ())
    assert first.trace_id != second.trace_id


async def test_basic_ingest_names_the_rule_and_leaves_the_prefix_out(admitting: Broker, identity: Identity) -> None:
    seen: list[Message] = []

    async def handle(message: Message) -> None:
        seen.append(message)

    payloads = [b'{ "a" : 1.0 }', b"", b"\xff\xfe", b"x" * 131_072]
    async with consuming(admitting, handle):

        def publish() -> None:
            with device(admitting, identity) as publisher:
                for payload in payloads:
                    assert publisher.publish("$aws/rules/forward/things/telemetry", payload) == "Success"

        await asyncio.to_thread(publish)
        await asyncio.to_thread(until, lambda: len(seen) == len(payloads))
    assert [message.payload for message in seen] == payloads
    assert {(message.rule, message.plain_topic) for message in seen} == {("forward", "things/telemetry")}


async def test_republished_messages_have_no_client(admitting: Broker) -> None:
    seen: list[Message] = []

    async def handle(message: Message) -> None:
        seen.append(message)

    async with consuming(admitting, handle) as consumer:
        await consumer.publish("out/a", b"1", 1)
        await comes(lambda: bool(seen))
    assert (seen[0].topic, seen[0].client_id, seen[0].principal) == ("out/a", "n/a", None)


async def test_messages_wait_while_the_engine_is_away(admitting: Broker, identity: Identity) -> None:
    seen: list[bytes] = []

    async def handle(message: Message) -> None:
        seen.append(message.payload)

    async with consuming(admitting, handle):
        pass
    payloads = [b"%d" % number for number in range(300)]

    def publish() -> None:
        with device(admitting, identity) as publisher:
            assert {publisher.publish("t", payload) for payload in payloads} == {"Success"}

    await asyncio.to_thread(publish)
    await asyncio.to_thread(admitting.stop)
    await asyncio.to_thread(admitting.start)
    async with consuming(admitting, handle):
        await comes(lambda: len(seen) == len(payloads))
    assert seen == payloads


async def test_a_message_is_acknowledged_only_when_it_is_handled(admitting: Broker, identity: Identity) -> None:
    tries: Counter[bytes] = Counter()
    finished = asyncio.Event()

    async def handle(message: Message) -> None:
        tries[message.payload] += 1
        await finished.wait()

    def publish() -> None:
        with device(admitting, identity) as publisher:
            for number in range(3):
                assert publisher.publish("t", b"%d" % number) == "Success"

    async with consuming(admitting, handle) as consumer:
        await asyncio.to_thread(publish)
        await comes(lambda: consumer.in_flight == 3)
        await asyncio.to_thread(admitting.stop)
        await comes(lambda: not consumer.connected)
        await asyncio.to_thread(admitting.start)
        await comes(lambda: consumer.connected)
        await asyncio.sleep(0.5)  # sent again while it is still being handled: not handled twice
        assert set(tries.values()) == {1}
        finished.set()
        await comes(lambda: consumer.in_flight == 0)
    async with consuming(admitting, handle):
        await asyncio.sleep(0.5)
    assert tries == {b"0": 1, b"1": 1, b"2": 1}


async def test_nothing_acknowledged_is_lost_when_the_broker_stops_under_load(
    admitting: Broker, identity: Identity
) -> None:
    handled: Counter[bytes] = Counter()
    acknowledged: list[bytes] = []
    ending = False

    async def handle(message: Message) -> None:
        await asyncio.sleep(random.random() / 50)  # noqa: S311
        handled[message.payload] += 1

    def publish(client_id: str) -> None:
        number = 0
        while not ending:
            try:
                with device(admitting, identity, client_id) as publisher:
                    while not ending:
                        number += 1
                        payload = f"{client_id}/{number}".encode()
                        if publisher.publish("t", payload) != "Success":
                            break
                        acknowledged.append(payload)
            except AssertionError:
                continue

    async with consuming(admitting, handle):
        publishers = [asyncio.create_task(asyncio.to_thread(publish, f"d{number}")) for number in range(4)]
        for _ in range(6):
            await asyncio.sleep(0.5)
            await asyncio.to_thread(admitting.stop)
            await asyncio.to_thread(admitting.start)
        await asyncio.sleep(0.5)
        ending = True
        await asyncio.gather(*publishers)
        await comes(lambda: set(acknowledged) <= set(handled))
    assert len(acknowledged) > 100
