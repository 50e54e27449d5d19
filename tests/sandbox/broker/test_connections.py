"""Who may connect, and who is cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from iot_sandbox.broker.policy import Thing
from iot_sandbox.broker.table import Certificate
from paho.mqtt.enums import MQTTProtocolVersion

from tests.sandbox.broker.devices import ACKNOWLEDGED, Device
from tests.sandbox.broker.mosquitto import PREFIX, Broker
from tests.support.certificates import Authority, Identity
from tests.support.waiting import until

THING_POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "iot:Connect",
                "Resource": PREFIX + "client/${iot:Connection.Thing.ThingName}",
                "Condition": {"Bool": {"iot:Connection.Thing.IsAttached": "true"}},
            },
            {"Effect": "Allow", "Action": "iot:Publish", "Resource": PREFIX + "topic/things/telemetry"},
        ],
    }
)


@pytest.fixture(scope="module")
def identity(authority: Authority) -> Identity:
    return authority.issue("thing")


def registered(identity: Identity, *things: str, documents: tuple[str, ...] = (THING_POLICY,)) -> Certificate:
    return Certificate(identity.id, documents, {name: Thing(name) for name in things})


def device(broker: Broker, identity: Identity, client_id: str, ca: Path | None = None, **more: object) -> Device:
    ca = ca or broker.authority.certificate
    return Device(
        broker.port,
        client_id,
        certificate=identity.certificate,
        key=identity.key,
        ca=ca,
        **more,  # type: ignore[arg-type]
    )


def until_loaded(broker: Broker, times: int) -> None:
    loaded = "Policy table is loaded"
    until(lambda: broker.log.read_text().count(loaded) >= times, otherwise="the table is not followed")


@pytest.fixture
def known(broker: Broker, identity: Identity) -> Broker:
    broker.set_policies([registered(identity, "sensor-1")])
    until_loaded(broker, 2)
    return broker


def test_an_attached_thing_connects_by_its_name_only(known: Broker, identity: Identity) -> None:
    with device(known, identity, "sensor-1") as mine:
        assert mine.refusal is None
        assert mine.publish("things/telemetry") in ACKNOWLEDGED
    with device(known, identity, "sensor-2") as other:
        assert other.refusal == "Not authorized"


def test_an_unknown_certificate_of_the_same_authority_is_refused(known: Broker) -> None:
    with device(known, known.authority.issue("stranger"), "sensor-1") as stranger:
        assert stranger.refusal == "Not authorized"


def test_no_certificate_and_a_foreign_authority_are_refused(known: Broker, tmp_path: Path) -> None:
    ca = known.authority.certificate
    with Device(known.port, "sensor-1", certificate=None, key=None, ca=ca) as bare:
        assert not bare.connected.is_set() or bare.disconnected.is_set()
    (tmp_path / "other").mkdir()
    with device(known, Authority(tmp_path / "other").issue("thing"), "sensor-1") as foreign:
        assert not foreign.connected.is_set() or foreign.disconnected.is_set()


@pytest.mark.parametrize("change", ["revoked or deleted", "policy detached", "thing detached", "denied"])
def test_a_connection_is_cut_when_its_right_ends(known: Broker, identity: Identity, change: str) -> None:
    deny = json.dumps({"Statement": [{"Effect": "Deny", "Action": "iot:*", "Resource": "*"}]})
    with device(known, identity, "sensor-1") as connected:
        assert connected.refusal is None
        known.set_policies(
            {
                "revoked or deleted": [],
                "policy detached": [registered(identity, "sensor-1", documents=())],
                "thing detached": [registered(identity)],
                "denied": [registered(identity, "sensor-1", documents=(THING_POLICY, deny))],
            }[change]
        )
        assert connected.disconnected.wait(5)
    with device(known, identity, "sensor-1") as again:
        assert again.refusal == "Not authorized"


def test_others_stay_connected_when_the_table_changes(known: Broker, identity: Identity) -> None:
    leaving = known.authority.issue("leaving")
    known.set_policies([registered(identity, "sensor-1"), registered(leaving, "sensor-2")])
    until_loaded(known, 3)
    with device(known, identity, "sensor-1") as staying, device(known, leaving, "sensor-2") as cut:
        known.set_policies([registered(identity, "sensor-1")])
        assert cut.disconnected.wait(5)
        assert staying.publish("things/telemetry") in ACKNOWLEDGED


def test_a_broken_table_leaves_the_last_one_in_force(known: Broker, identity: Identity) -> None:
    (known.folder / "policies").write_text("iot-policies 1\nallow\tC\t\x02\n")
    until(lambda: "a rule outside a client" in known.log.read_text(), otherwise="the fault is not logged")
    with device(known, identity, "sensor-1") as connected:
        assert connected.refusal is None


def test_the_rules_engines_name_is_not_for_devices(broker: Broker, identity: Identity) -> None:
    everything = json.dumps({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
    broker.set_policies([registered(identity, documents=(everything,))])
    until_loaded(broker, 2)
    with device(broker, identity, "$sandbox-rules-engine") as pretender:
        assert pretender.refusal == "Not authorized"
    with device(broker, identity, "anything") as free:
        assert free.refusal is None


def test_mqtt_3_connects_too(known: Broker, identity: Identity) -> None:
    with device(known, identity, "sensor-1", protocol=MQTTProtocolVersion.MQTTv311) as old:
        assert old.refusal is None
        assert old.publish("things/telemetry") in ACKNOWLEDGED
        assert old.publish("things/other") is None
        assert old.disconnected.wait(5)


def test_a_policy_may_forbid_persistent_sessions(broker: Broker, identity: Identity) -> None:
    """https://docs.aws.amazon.com/iot/latest/developerguide/connect-policy.html"""
    condition = {"ForAnyValue:StringEquals": {"iot:ConnectAttributes": ["PersistentConnect"]}}
    allow = {"Effect": "Allow", "Action": "iot:*", "Resource": "*"}
    deny = {"Effect": "Deny", "Action": "iot:Connect", "Resource": "*", "Condition": condition}
    broker.set_policies([registered(identity, documents=(json.dumps({"Statement": [allow]}),))])
    until_loaded(broker, 2)
    with device(broker, identity, "keeps", clean_start=False) as keeping:
        assert keeping.refusal is None
        broker.set_policies([registered(identity, documents=(json.dumps({"Statement": [allow, deny]}),))])
        assert keeping.disconnected.wait(10), "the policy that forbids its session came later"
    assert device(broker, identity, "keeps", clean_start=False).refusal == "Not authorized"
    with device(broker, identity, "forgets") as forgetting:
        assert forgetting.refusal is None
