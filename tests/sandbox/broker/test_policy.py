"""Policy documents, resolved for a connection."""

from __future__ import annotations

import json
from typing import Any

import pytest
from iot_sandbox.broker.policy import Connection, Rule, Thing, rules
from iot_sandbox.broker.table import Certificate, render

ID = "ab" * 32
OPEN = Connection(ID)
ATTACHED = Connection(ID, Thing("sensor-1", "Sensor", {"site": "north"}))


def statement(effect: str = "Allow", action: Any = "iot:Publish", resource: Any = "*", **more: Any) -> str:
    return json.dumps({"Statement": {"Effect": effect, "Action": action, "Resource": resource, **more}})


@pytest.mark.parametrize(
    ("resource", "connection", "pattern"),
    [
        ("*", OPEN, "\x02"),
        ("topic/a?c/*", OPEN, "topic/a\x03c/\x02"),
        ("client/${iot:ClientId}", OPEN, "client/\x01"),
        ("client/${iot:ClientId}", ATTACHED, "client/sensor-1"),
        ("client/${iot:Connection.Thing.ThingName}", ATTACHED, "client/sensor-1"),
        ("client/${iot:Connection.Thing.ThingName}", OPEN, None),
        ("topic/${iot:Connection.Thing.ThingTypeName}", ATTACHED, "topic/Sensor"),
        ("topic/${iot:Connection.Thing.Attributes[site]}/x", ATTACHED, "topic/north/x"),
        ("topic/${iot:Connection.Thing.Attributes[none]}/x", ATTACHED, None),
        ("topic/${iot:CertificateId}", OPEN, f"topic/{ID}"),
        ("topic/${nonsense}", ATTACHED, None),
        ("topic/${*}/${?}/${$}", OPEN, "topic/*/?/$"),
        ("topic/\x01", OPEN, None),
    ],
)
def test_resources(resource: str, connection: Connection, pattern: str | None) -> None:
    expected = [] if pattern is None else [Rule(deny=False, actions="P", pattern=pattern)]
    assert rules([statement(resource=resource)], connection) == expected


@pytest.mark.parametrize(
    ("action", "letters"),
    [
        ("iot:Connect", "C"),
        ("iot:*", "CPRTS"),
        ("*", "CPRTS"),
        ("IOT:publish", "P"),
        (["iot:Publish", "iot:Receive"], "PR"),
        ("iot:*Publish", "PT"),
        ("iot:Sub?cribe", "S"),
        ("iot:GetThingShadow", ""),
        ("s3:*", ""),
    ],
)
def test_actions(action: Any, letters: str) -> None:
    assert "".join(rule.actions for rule in rules([statement(action=action)], OPEN)) == letters


@pytest.mark.parametrize(
    ("condition", "attached", "loose"),
    [
        ({"Bool": {"iot:Connection.Thing.IsAttached": "true"}}, True, False),
        ({"Bool": {"iot:Connection.Thing.IsAttached": ["true"]}}, True, False),
        ({"Bool": {"iot:Connection.Thing.IsAttached": True}}, True, False),
        ({"Bool": {"iot:Connection.Thing.IsAttached": "false"}}, False, True),
        ({"StringEquals": {"iot:Connection.Thing.ThingTypeName": "Sensor"}}, True, False),
        ({"StringEquals": {"iot:Connection.Thing.ThingTypeName": ["Other", "Sensor"]}}, True, False),
        ({"StringNotEquals": {"iot:Connection.Thing.ThingTypeName": "Sensor"}}, False, True),
        ({"StringLike": {"iot:ClientId": "sensor-*"}}, True, False),
        ({"ForAnyValue:StringEquals": {"iot:ClientId": "${iot:Connection.Thing.ThingName}"}}, True, False),
        ({"StringEqualsIfExists": {"iot:Connection.Thing.Attributes[none]": "x"}}, True, True),
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}, False, False),
        ({"DateLessThan": {"aws:CurrentTime": "2000-01-01T00:00:00Z"}}, False, False),
    ],
)
def test_conditions(condition: Any, attached: bool, loose: bool) -> None:
    document = statement(Condition=condition)
    assert [bool(rules([document], c)) for c in (ATTACHED, OPEN)] == [attached, loose]


ATTRIBUTES = "iot:ConnectAttributes"


@pytest.mark.parametrize(
    ("condition", "letters"),
    [
        ({"ForAllValues:StringEquals": {ATTRIBUTES: ["PersistentConnect"]}}, "C"),
        ({"ForAllValues:StringEquals": {ATTRIBUTES: ["PersistentConnect", "LastWill"]}}, "C"),
        ({"ForAllValues:StringEquals": {ATTRIBUTES: ["LastWill"]}}, "CN"),
        ({"ForAllValues:StringEquals": {ATTRIBUTES: []}}, "CN"),
        ({"ForAllValues:StringNotEquals": {ATTRIBUTES: ["PersistentConnect"]}}, "CN"),
        ({"ForAnyValue:StringEquals": {ATTRIBUTES: ["PersistentConnect"]}}, "K"),
        ({"ForAnyValue:StringNotEquals": {ATTRIBUTES: ["LastWill"]}}, "K"),
        ({"ArnEquals": {"iot:LastWillTopic": "arn:aws:iot:*:*:topic/will"}}, ""),
    ],
)
def test_conditions_on_how_a_client_connects(condition: Any, letters: str) -> None:
    """https://docs.aws.amazon.com/iot/latest/developerguide/connect-policy.html"""
    found = rules([statement(action="iot:Connect", Condition=condition)], OPEN)
    assert "".join(rule.actions for rule in found) == letters


@pytest.mark.parametrize(
    ("condition", "held"),
    [
        ({"ForAllValues:StringEquals": {"iot:Connection.Thing.ThingTypeName": ["Sensor"]}}, [True, True]),
        ({"ForAllValues:StringEquals": {"iot:Connection.Thing.ThingTypeName": ["Door"]}}, [False, True]),
        ({"ForAllValues:StringNotEquals": {"iot:Connection.Thing.ThingTypeName": ["Door"]}}, [True, True]),
        ({"ForAnyValue:StringEquals": {"iot:Connection.Thing.ThingTypeName": ["Sensor"]}}, [True, False]),
        ({"ForAnyValue:StringNotEquals": {"iot:Connection.Thing.ThingTypeName": ["Door"]}}, [True, False]),
        ({"StringEquals": {"iot:CertificateId": ID}}, [True, True]),
        ({"StringEquals": {"iot:Certificate.Id": ID}}, [False, False]),
        ({"StringNotEquals": {"iot:Certificate.Subject.CommonName": "x"}}, [False, False]),
        ({"StringEqualsIfExists": {"iot:DomainName": "x"}}, [False, False]),
    ],
)
def test_absent_and_unknown_keys(condition: Any, held: list[bool]) -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html"""
    assert [bool(rules([statement(Condition=condition)], c)) for c in (ATTACHED, OPEN)] == held


def test_a_deny_by_a_key_that_is_not_judged_here_denies() -> None:
    condition = {"StringEquals": {"iot:Certificate.Subject.CommonName": "AWS IoT Certificate"}}
    assert rules([statement("Deny", Condition=condition)], OPEN) == [Rule(True, "P", "\x02")]


@pytest.mark.parametrize(
    ("effect", "resource", "connection", "expected"),
    [
        ("Deny", "topic/a/*", OPEN, [Rule(True, "P", "topic/a/\x02", outside=True)]),
        ("Allow", ["topic/a", "topic/b"], OPEN, [Rule(False, "P", "topic/a\x04topic/b", outside=True)]),
        ("Deny", "topic/${iot:Connection.Thing.ThingName}", OPEN, [Rule(True, "P", "\x02")]),
        ("Allow", ["topic/a", "topic/${iot:Connection.Thing.ThingName}"], OPEN, []),
        ("Allow", "topic/${iot:Connection.Thing.ThingName}", ATTACHED,
         [Rule(False, "P", "topic/sensor-1", outside=True)]),
    ],
)  # fmt: skip
def test_not_resource(effect: str, resource: Any, connection: Connection, expected: list[Rule]) -> None:
    """https://docs.aws.amazon.com/iot/latest/developerguide/security_iam_service-with-iam.html"""
    document = {"Statement": {"Effect": effect, "Action": "iot:Publish", "NotResource": resource}}
    assert rules([json.dumps(document)], connection) == expected


@pytest.mark.parametrize(
    ("actions", "letters"),
    [("iot:Publish", "CRTS"), (["iot:Connect", "iot:*Publish"], "RS"), ("iot:*", ""), ("s3:*", "CPRTS")],
)
def test_not_action(actions: Any, letters: str) -> None:
    document = {"Statement": {"Effect": "Deny", "NotAction": actions, "Resource": "*"}}
    assert "".join(rule.actions for rule in rules([json.dumps(document)], OPEN)) == letters


def test_policies_of_a_things_groups_are_the_things() -> None:
    sensor = Thing("sensor-1", groups=("arn:group", "arn:parent"))
    things = {"sensor-1": sensor, "other": Thing("other")}
    certificate = Certificate(ID, (statement(resource="own"),), things, {"arn:parent": (statement(resource="group"),)})
    assert render([certificate], "p").splitlines()[3:] == [
        "client\tother",
        "allow\tP\town",
        "client\tsensor-1",
        "allow\tP\town",
        "allow\tP\tgroup",
        "client",
        "allow\tP\town",
    ]


def test_a_deny_that_cannot_be_judged_denies() -> None:
    assert rules([statement("Deny", Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}})], OPEN)
    assert rules([statement("Deny", Condition={"StringLike": {"iot:ClientId": "bad-*"}})], OPEN)
    assert not rules([statement("Deny", Condition={"StringLike": {"iot:ClientId": "bad-*"}})], ATTACHED)


@pytest.mark.parametrize("document", ["", "{}", "[]", '{"Statement": 5}', '{"Statement": [{"Effect": "Maybe"}]}'])
def test_what_is_no_policy_allows_nothing(document: str) -> None:
    assert rules([document], OPEN) == []


def test_the_table_has_a_block_for_each_thing_and_one_for_other_client_ids() -> None:
    document = statement(action="iot:Connect", resource="client/${iot:Connection.Thing.ThingName}")
    certificates = [
        Certificate("b" * 64),
        Certificate("a" * 64, (document,), {name: Thing(name) for name in ("y", "x")}),
    ]
    assert render(certificates, "arn:aws:iot:r:1:").splitlines() == [
        "iot-policies 1",
        "prefix\tarn:aws:iot:r:1:",
        "certificate\t" + "a" * 64,
        "client\tx",
        "allow\tC\tclient/x",
        "client\ty",
        "allow\tC\tclient/y",
        "client",
        "certificate\t" + "b" * 64,
        "client",
    ]
