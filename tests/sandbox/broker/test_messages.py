"""What may be published, subscribed to and received, and what the rules engine gets of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from iot_sandbox.broker.table import Certificate
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.sandbox.broker.devices import ACKNOWLEDGED, Device
from tests.sandbox.broker.mosquitto import PREFIX, Broker
from tests.support.certificates import Authority, Identity
from tests.support.waiting import until

DENIED = "Not authorized"


def allow(action: str, *resources: str, effect: str = "Allow") -> dict[str, object]:
    return {"Effect": effect, "Action": action, "Resource": [PREFIX + resource for resource in resources]}


@pytest.fixture(scope="module")
def identities(authority: Authority) -> tuple[Identity, Identity]:
    return authority.issue("one"), authority.issue("two")


class Pair:
    """Two devices with policies of their own."""

    def __init__(self, broker: Broker, identities: tuple[Identity, Identity]) -> None:
        self._broker, self._identities = broker, identities
        self._open: list[Device] = []

    def policies(self, one: list[dict[str, object]], two: list[dict[str, object]] | None = None) -> None:
        connect = allow("iot:Connect", "client/*")
        before = self._broker.log.read_text().count("Policy table is loaded")
        self._broker.set_policies(
            [
                Certificate(identity.id, (json.dumps({"Statement": [connect, *statements]}),))
                for identity, statements in zip(self._identities, (one, two or []), strict=True)
            ]
        )
        until(
            lambda: self._broker.log.read_text().count("Policy table is loaded") > before,
            otherwise="the table is not followed",
        )

    def device(self, number: int, client_id: str = "") -> Device:
        identity = self._identities[number - 1]
        ca = self._broker.authority.certificate
        opened = Device(
            self._broker.port,
            client_id or f"device-{number}",
            certificate=identity.certificate,
            key=identity.key,
            ca=ca,
        )
        assert opened.refusal is None
        self._open.append(opened)
        return opened

    def close(self) -> None:
        for device in self._open:
            device.stop()


@pytest.fixture
def pair(broker: Broker, identities: tuple[Identity, Identity]) -> Iterator[Pair]:
    made = Pair(broker, identities)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("resources", "topic", "allowed"),
    [
        (["topic/things/telemetry"], "things/telemetry", True),
        (["topic/things/telemetry"], "things/telemetry2", False),
        (["topic/things/telemetry"], "things/Telemetry", False),
        (["topic/things/*"], "things/a/b/c", True),
        (["topic/things/*/end"], "things/a/b/end", True),
        (["topic/things/*/end"], "things/a/b/ends", False),
        (["topic/*a*b*"], "xxaxxaxbxx", True),
        (["topic/a?c"], "abc", True),
        (["topic/a?c"], "ac", False),
        (["topic/${iot:ClientId}/data"], "device-1/data", True),
        (["topic/${iot:ClientId}/data"], "device-2/data", False),
        (["topic/*/${iot:ClientId}"], "a/device-1/b/device-1", True),
        (["topic/things/+"], "things/x", False),
        (["topicfilter/things"], "things", False),
        (["client/*"], "things", False),
        (["topic/none", "topic/some"], "some", True),
        (["topic/*"], "$aws/rules/r", False),
        (["topic/*"], "$sandbox/rules/1/2/3/4/5/things/telemetry", False),
        (["topic/*"], "x" * 256, True),
        (["topic/*"], "x" * 257, False),
        (["topic/*"], "/1/2/3/4/5/6/7", True),
        (["topic/*"], "/1/2/3/4/5/6/7/8", False),
        (["topic/$aws/rules/forward/*"], "$aws/rules/forward/things/telemetry", True),
        (["topic/$aws/rules/forward/*"], "$aws/rules/forwards/things/telemetry", False),
        (["topic/things/telemetry"], "$aws/rules/forward/things/telemetry", False),
        (["topic/$aws/rules/forward/*"], "$aws/rules/forward/" + "x" * 256, True),
        (["topic/$aws/rules/forward/*"], "$aws/rules/forward/" + "x" * 257, False),
        (["topic/$aws/rules/forward/*"], "$aws/rules/forward//1/2/3/4/5/6/7", True),
        (["topic/$aws/rules/forward/*"], "$aws/rules/forward//1/2/3/4/5/6/7/8", False),
        (["topic/*"], "$aws/rules/forward/", False),
        (["topic/*"], "$aws/rules//things", False),
        (["topic/*"], "$aws/things/a/shadow/update", False),
    ],
)
def test_publishing(pair: Pair, resources: list[str], topic: str, allowed: bool) -> None:
    pair.policies([allow("iot:Publish", *resources)])
    device = pair.device(1)
    if allowed:
        assert device.publish(topic) in ACKNOWLEDGED
        assert not device.disconnected.is_set()
    else:
        assert device.publish(topic) == DENIED
        assert device.disconnected.wait(5), "IoT Core closes the connection of who publishes without permission"


def test_deny_wins_and_retaining_needs_its_own_permission(pair: Pair) -> None:
    publish = [allow("iot:Publish", "topic/*"), allow("iot:Publish", "topic/secret/*", effect="Deny")]
    pair.policies(publish)
    assert pair.device(1).publish("open/x") in ACKNOWLEDGED
    assert pair.device(1).publish("secret/x") == DENIED
    assert pair.device(1).publish("open/x", retain=True) == DENIED
    pair.policies([*publish, allow("iot:RetainPublish", "topic/*")])
    assert pair.device(1).publish("open/x", retain=True) in ACKNOWLEDGED


def test_not_resource_and_not_action(pair: Pair) -> None:
    everything = allow("iot:*", "*")
    open_to_all = [PREFIX + "topic/a/*", PREFIX + "topic/b"]
    outside: dict[str, object] = {"Effect": "Deny", "Action": "iot:Publish", "NotResource": open_to_all}
    others: dict[str, object] = {"Effect": "Deny", "NotAction": ["iot:Connect", "iot:Publish"], "Resource": "*"}
    pair.policies([everything, outside, others])
    device = pair.device(1)
    assert device.publish("a/x") in ACKNOWLEDGED
    assert device.publish("b") in ACKNOWLEDGED
    assert device.subscribe("a/x") == DENIED
    assert device.publish("c") == DENIED
    secret = PREFIX + "topic/secret/*"
    receive: dict[str, object] = {"Effect": "Allow", "Action": "iot:Receive", "NotResource": secret}
    pair.policies([everything], [allow("iot:Subscribe", "topicfilter/*"), receive])
    listener = pair.device(2)
    listener.subscribe("#")
    for topic in ("secret/x", "open/x"):
        assert pair.device(1).publish(topic) in ACKNOWLEDGED
    until(lambda: bool(listener.received))
    assert [message.topic for message in listener.received] == ["open/x"]


def test_quality_of_service_0_is_judged_too(pair: Pair) -> None:
    pair.policies([])
    device = pair.device(1)
    device.publish("any", qos=0)
    assert device.disconnected.wait(5)


def test_a_message_beyond_the_limit_is_refused(pair: Pair) -> None:
    pair.policies([allow("iot:Publish", "topic/*")])
    device = pair.device(1)
    assert device.publish("t", b"x" * 131_072) in ACKNOWLEDGED
    assert device.publish("t", b"x" * 131_073) is None
    assert device.disconnected.wait(5)


@pytest.mark.parametrize(
    ("resource", "topic_filter", "allowed"),
    [
        ("topicfilter/things/+", "things/+", True),
        ("topicfilter/things/*", "things/+", True),
        ("topicfilter/things/+", "things/x", False),
        ("topic/things/+", "things/+", False),
        ("topicfilter/*", "#", True),
        ("topicfilter/*", "/1/2/3/4/5/6/7/8", False),
        ("topicfilter/$share/g/1/2/3/4/5/6/7/+", "$share/g/1/2/3/4/5/6/7/+", True),
        ("topicfilter/1/+", "$share/g/1/+", False),
        ("topicfilter/*", "$sandbox/#", False),
        ("topicfilter/*", "$SYS/#", False),
        ("topicfilter/*", "$aws/#", False),
    ],
)
def test_subscribing(pair: Pair, resource: str, topic_filter: str, allowed: bool) -> None:
    pair.policies([allow("iot:Subscribe", resource)])
    assert pair.device(1).subscribe(topic_filter) == ("Granted QoS 1" if allowed else DENIED)


def test_devices_get_messages_as_they_were_published(pair: Pair) -> None:
    pair.policies(
        [allow("iot:Publish", "topic/*")],
        [allow("iot:Subscribe", "topicfilter/#"), allow("iot:Receive", "topic/open")],
    )
    listener, speaker = pair.device(2), pair.device(1)
    assert listener.subscribe("#") == "Granted QoS 1"
    properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [("a", "b"), ("a", "c")]
    properties.ContentType = "text/plain"
    speaker.publish("closed", b"1")
    speaker.publish("$aws/rules/forward/open", b"no device gets what Basic Ingest carries")
    speaker.publish("open", b"2", properties=properties)
    until(lambda: bool(listener.received), otherwise="nothing is received")
    (received,) = listener.received
    given: Any = received.properties
    assert (received.topic, received.payload, received.qos) == ("open", b"2", 1)
    assert given.UserProperty == [("a", "b"), ("a", "c")]
    assert given.ContentType == "text/plain"


def test_client_ids_follow_awss_limits(pair: Pair) -> None:
    pair.policies([])
    pair.device(1, "x" * 128)
    with pytest.raises(AssertionError):
        pair.device(1, "x" * 129)
    with pytest.raises(AssertionError):
        pair.device(1, "$x")
