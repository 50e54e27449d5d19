"""The pure parts of the modules: what is, what should be, the difference."""

import datetime as dt
import json
from typing import Any

import pytest
from ansible_collections.iotweb.aws_iot.plugins.module_utils import certificate, policy, thing, topic_rule
from ansible_collections.iotweb.aws_iot.plugins.module_utils import topic_rule_destination as destination

from tests.collection.helpers import pair

THING = {"thing_name": "a", "thing_type_name": "old", "attributes": {"room": "1", "floor": "2"}}
UNASKED = {"name": "a", "thing_type_name": None, "attributes": None, "purge_attributes": True}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, {}),
        ({"attributes": {"room": 1, "floor": "2"}}, {}),
        ({"attributes": {"room": "9"}}, {"attributePayload": {"attributes": {"room": "9"}, "merge": False}}),
        ({"attributes": {"room": "9"}, "purge_attributes": False},
         {"attributePayload": {"attributes": {"room": "9", "floor": "2"}, "merge": False}}),
        ({"thing_type_name": "new"}, {"thingTypeName": "new"}),
        ({"thing_type_name": ""}, {"removeThingType": True}),
    ],
)  # fmt: skip
def test_a_thing_is_updated_only_where_it_differs(asked: dict[str, Any], expected: dict[str, Any]) -> None:
    wanted = thing.desired(THING, UNASKED | asked)
    assert thing.update(THING, wanted) == {"thingName": "a"} | expected


def document(**changes: Any) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"} | changes],
    }


def test_policy_documents_are_compared_by_meaning() -> None:
    single = document(Action="iot:Connect") | {"Statement": document()["Statement"][0]}
    assert policy.same(document(), document(Action=["iot:Connect"]))
    assert policy.same(document(), single)
    assert policy.same(document(Action=["a", "b"]), document(Action=["b", "a"]))
    assert policy.same(document(Action=["a", "b", "a"]), document(Action=["b", "a"]))
    assert policy.same({**document(), "Statement": document()["Statement"] * 2}, document())
    assert policy.same(document(Condition={"Bool": {"x": True}}), document(Condition={"Bool": {"x": ["true"]}}))
    assert not policy.same(document(), {"Statement": document()["Statement"]})  # another Version
    assert not policy.same(document(), document(Effect="Deny"))
    assert not policy.same(
        document(), document(Condition={"Bool": {"iot:Connection.Thing.IsAttached": "true"}})
    )


@pytest.mark.parametrize(
    "faulty", ["x", "[]", "{}", '{"Statement": null}', '{"Statement": []}', '{"Statement": ["x"]}', '{"Statement": 1}']
)
def test_a_document_has_statements(faulty: str) -> None:
    assert policy.document_fault(faulty)
    assert not policy.document_fault(json.dumps(document()))
    assert not policy.document_fault(json.dumps(document() | {"Statement": document()["Statement"][0]}))


@pytest.mark.parametrize(
    ("target", "good"),
    [
        (f"arn:aws:iot:us-east-2:123456789012:cert/{'0' * 64}", True),
        ("arn:aws-cn:iot:cn-north-1:123456789012:thinggroup/pumps", True),
        ("us-east-2:1b2c3d4e-0000-4000-8000-1234567890ab", True),
        ("nonsense", False),
        ("arn:aws:iot:us-east-2:123456789012:thing/a", False),
        ("", False),
    ],
)
def test_what_a_policy_can_be_attached_to(target: str, good: bool) -> None:
    assert bool(policy.TARGET.fullmatch(target)) is good


def versions(default: int, count: int) -> list[dict[str, Any]]:
    return [
        {"versionId": str(number), "isDefaultVersion": number == default} for number in range(8, 8 + count)
    ]


def test_the_oldest_version_makes_room_but_never_the_default() -> None:
    assert policy.version_to_remove(versions(8, 4)) is None
    assert policy.version_to_remove(versions(12, 5)) == "8"
    assert policy.version_to_remove(versions(8, 5)) == "9"  # 10 is newer than 9, though smaller as text


def one(number: int, status: str, pem: str = "") -> dict[str, Any]:
    return {"certificateId": f"c{number}", "status": status, "certificatePem": pem}


def test_a_certificate_is_found_by_the_key_of_its_csr() -> None:
    (csr, mine), (other_csr, other) = pair(), pair()
    key = certificate.csr_key(csr)
    held = [one(1, "ACTIVE", other), one(2, "INACTIVE", mine), one(3, "ACTIVE", mine)]
    assert certificate.chosen(held, key, "active") == [held[2], held[1]]
    assert certificate.chosen(held[:2], key, "active") == [held[1]]
    assert certificate.chosen(held[:1], key, "active") == []
    assert certificate.csr_key(other_csr) == certificate.certificate_key(other)


def test_without_a_csr_the_one_that_counts_is_meant() -> None:
    revoked, active = one(1, "REVOKED"), one(2, "ACTIVE")
    assert certificate.chosen([revoked, active], None, "active") == [active]
    assert certificate.chosen([revoked], None, "active") == []
    assert certificate.chosen([revoked], None, "absent") == [revoked]
    assert certificate.chosen([revoked, one(3, "REVOKED")], None, "revoked") == [revoked]
    with pytest.raises(certificate.NotOneError, match="c2, c3"):
        certificate.chosen([active, one(3, "INACTIVE")], None, "active")


def test_attachments_that_nobody_asked_about_stay() -> None:
    current = {"status": "ACTIVE", "things": ["b"], "policies": ["p", "q"]}
    params: dict[str, Any] = {"state": "inactive", "thing_name": "a", "policies": None, "purge_policies": True,
                              "purge_things": False}  # fmt: skip
    assert certificate.desired(current, params) == {
        "status": "INACTIVE",
        "things": ["a", "b"],
        "policies": ["p", "q"],
    }
    params |= {"policies": ["r"]}
    assert certificate.desired(current, params)["policies"] == ["r"]
    params |= {"purge_policies": False}
    assert certificate.desired(current, params)["policies"] == ["p", "q", "r"]


@pytest.mark.parametrize(
    ("status", "state", "unanswered", "step"),
    [
        (None, "enabled", 0, "create"),
        ("ENABLED", "enabled", 99, "done"),
        ("IN_PROGRESS", "enabled", 29, "wait"),
        ("IN_PROGRESS", "enabled", 30, "IN_PROGRESS"),
        ("ERROR", "enabled", float("inf"), "IN_PROGRESS"),
        ("ERROR", "enabled", 9, "wait"),
        ("ERROR", "enabled", 10, "IN_PROGRESS"),
        ("ERROR", "disabled", 10, "IN_PROGRESS"),
        ("IN_PROGRESS", "disabled", 29, "wait"),
        ("DISABLED", "enabled", 0, "ENABLED"),
        ("DELETING", "enabled", 99, "wait"),
        (None, "disabled", 0, "create"),
        ("ENABLED", "disabled", 0, "DISABLED"),
        ("DISABLED", "disabled", 0, "done"),
        (None, "absent", 0, "done"),
        ("ERROR", "absent", 0, "delete"),
        ("DELETING", "absent", 0, "wait"),
    ],
)
def test_each_status_has_its_next_step(status: str | None, state: str, unanswered: float, step: str) -> None:
    current = {"status": status} if status else None
    assert destination.next_step(current, state, unanswered, 30) == step


def summary(arn: str, status: str, created: int, url: str = "https://a/ingest") -> dict[str, Any]:
    return {
        "arn": arn,
        "status": status,
        "httpUrlSummary": {"confirmationUrl": url},
        "createdAt": dt.datetime.fromtimestamp(created, dt.UTC),
    }


def test_a_destination_is_found_by_its_url_and_the_usable_one_first() -> None:
    held = [
        summary("1", "DELETING", 1),
        summary("2", "ERROR", 2),
        summary("3", "ENABLED", 3),
        summary("4", "ENABLED", 0, "https://a/ingest2"),
        {"arn": "5", "status": "ENABLED", "vpcDestinationSummary": {}},
    ]
    assert [found["arn"] for found in destination.of_url(held, "https://a/ingest")] == ["3", "2", "1"]


@pytest.mark.parametrize(
    ("url", "faulty"),
    [
        ("https://a/ingest", False), ("https://a:8443/", False), ("http://a/ingest", True), ("nonsense", True),
        ("", True), ("https://", True), ("https:///ingest", True), ("https://a:b/", True), ("https://a b/", True),
        ("https://[::1/", True),
    ],
)  # fmt: skip
def test_a_destinations_url_is_one_of_https_with_a_host(url: str, faulty: bool) -> None:
    told = destination.url_fault(url)
    assert bool(told) is faulty
    assert not told or "https://ingest.example.com/ingest" in told


def test_runs_at_once_agree_on_the_oldest_destination() -> None:
    held = [summary("b", "IN_PROGRESS", 2), summary("a", "ENABLED", 3), summary("c", "DELETING", 1)]
    assert destination.oldest(held) == "b"
    assert destination.oldest([]) is None


def test_a_destination_that_another_run_has_just_made_beside_an_older_one_is_passed_over() -> None:
    """Else it is deleted after this run has returned it."""
    now = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)

    def held(*ages: int) -> list[dict[str, Any]]:
        return [{**summary(str(age), "ENABLED", 0), "createdAt": now - dt.timedelta(seconds=age)} for age in ages]

    def left(*ages: int) -> list[str]:
        return [found["arn"] for found in destination.settled(held(*ages), now)]

    assert left(2, 3, 90) == ["90"]
    assert left(3, 2) == ["3"]
    assert left(70, 90) == ["70", "90"]
    assert left(2) == ["2"]
    assert left() == []


RULE: dict[str, Any] = {
    "sql": "SELECT * FROM 'things/telemetry'",
    "actions": [
        {
            "http": {
                "url": "https://a/ingest",
                "headers": [{"key": "X", "value": "1"}, {"key": "A", "value": "2"}],
            }
        }
    ],
    "ruleDisabled": False,
    "awsIotSqlVersion": "2016-03-23",
}


def with_http(**changes: Any) -> dict[str, Any]:
    return RULE | {"actions": [{"http": RULE["actions"][0]["http"] | changes}]}


@pytest.mark.parametrize(
    "same",
    [
        RULE | {"description": "", "errorAction": None, "createdAt": "2026-01-01", "ruleName": "r"},
        RULE | {"sql": "SELECT *\n  FROM   'things/telemetry'\n"},
        with_http(confirmationUrl="https://a/ingest", enableBatching=False, auth=None),
        with_http(headers=list(reversed(RULE["actions"][0]["http"]["headers"]))),
    ],
)
def test_what_aws_fills_in_is_no_difference(same: dict[str, Any]) -> None:
    assert topic_rule.difference(same, RULE) == "nothing"
    assert topic_rule.difference(RULE, same) == "nothing"


def test_batching_is_compared_with_its_defaults_written_out() -> None:
    asked = with_http(enableBatching=True, batchConfig={"maxBatchSize": 10})
    defaults = {"maxBatchOpenMs": 20, "maxBatchSize": 10, "maxBatchSizeBytes": 5120, "batchAcrossTopics": False}
    told = with_http(enableBatching=True, batchConfig=defaults)
    assert topic_rule.difference(told, asked) == "nothing"
    assert (
        topic_rule.difference(told, with_http(enableBatching=True, batchConfig={"maxBatchOpenMs": 50}))
        == "replace"
    )
    assert topic_rule.difference(told, RULE) == "replace"


@pytest.mark.parametrize(
    "changed",
    [
        RULE | {"sql": "SELECT * FROM 'things/ telemetry'"},  # white space within quotes is part of the topic
        RULE | {"awsIotSqlVersion": "2015-10-08"},
        RULE | {"errorAction": {"sqs": {"queueUrl": "q", "roleArn": "r"}}},
        RULE | {"actions": RULE["actions"] * 2},
        with_http(url="https://b/ingest"),
        with_http(headers=[{"key": "X", "value": "other"}]),
    ],
)
def test_a_real_difference_replaces_the_rule(changed: dict[str, Any]) -> None:
    assert topic_rule.difference(RULE, changed) == "replace"
    assert topic_rule.difference(changed, RULE) == "replace"


def test_switching_a_rule_needs_no_replacement() -> None:
    off = RULE | {"ruleDisabled": True}
    assert topic_rule.difference(RULE, off) == "disable"
    assert topic_rule.difference(off, RULE) == "enable"
    assert topic_rule.difference(off, RULE | {"description": "x"}) == "replace"
    assert topic_rule.difference(None, RULE) == "create"


