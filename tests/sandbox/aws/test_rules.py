"""Topic rules, policies, tags and the endpoint of AWS IoT."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.emulator import ACCOUNT, REGION, Emulator

SQL = "SELECT deviceId, temp, timestamp() AS iot_received_at FROM 'things/telemetry' WHERE temp = 5"
HTTP = {
    "url": "https://localhost:1/ingest/a",
    "confirmationUrl": "https://localhost:1/ingest",
    "headers": [{"key": "X-Iot-Secret", "value": "${get_secret('iot/secret', 'SecretString', 'secret', 'arn:x')}"}],
    "enableBatching": True,
    "batchConfig": {"maxBatchOpenMs": 20, "maxBatchSize": 10, "maxBatchSizeBytes": 5120, "batchAcrossTopics": False},
}


@pytest.fixture(name="iot")
def _iot(aws: Emulator) -> Any:
    return aws.client("iot")


@pytest.fixture(scope="module", name="role")
def _role(aws: Emulator) -> str:
    trust = {"Effect": "Allow", "Principal": {"Service": "iot.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    made = aws.client("iam").create_role(RoleName="rule", AssumeRolePolicyDocument=document)
    return str(made["Role"]["Arn"])


def payload(role: str, **changes: Any) -> dict[str, Any]:
    return {
        "sql": SQL,
        "description": "Readings",
        "actions": [{"http": HTTP}],
        "errorAction": {"sqs": {"roleArn": role, "queueUrl": "https://sqs/q", "useBase64": False}},
        "awsIotSqlVersion": "2016-03-23",
        "ruleDisabled": False,
        **changes,
    }


def code(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as error:
        call(**arguments)
    return str(error.value.response["Error"]["Code"])


def test_every_member_of_a_rule_comes_back(iot: Any, role: str) -> None:
    iot.create_topic_rule(ruleName="whole", topicRulePayload=payload(role), tags="team=iot&stage=a%20b")
    found = iot.get_topic_rule(ruleName="whole")
    rule = found["rule"]
    created = rule.pop("createdAt")
    assert rule == {"ruleName": "whole", **payload(role)}
    assert found["ruleArn"] == f"arn:aws:iot:{REGION}:{ACCOUNT}:rule/whole"
    tags = iot.list_tags_for_resource(resourceArn=found["ruleArn"])["tags"]
    assert tags == [{"Key": "stage", "Value": "a b"}, {"Key": "team", "Value": "iot"}]
    iot.replace_topic_rule(ruleName="whole", topicRulePayload=payload(role, sql="SELECT * FROM 'a/+/b'"))
    replaced = iot.get_topic_rule(ruleName="whole")["rule"]
    assert (replaced["sql"], replaced["createdAt"]) == ("SELECT * FROM 'a/+/b'", created)
    assert iot.list_tags_for_resource(resourceArn=found["ruleArn"])["tags"] == tags
    listed = {r["ruleName"]: r for r in iot.list_topic_rules()["rules"]}
    assert listed["whole"]["topicPattern"] == "a/+/b"


def test_defaults_are_awss(iot: Any) -> None:
    iot.create_topic_rule(ruleName="bare", topicRulePayload={"sql": "SELECT * FROM 'x'", "actions": []})
    rule = iot.get_topic_rule(ruleName="bare")["rule"]
    assert rule["awsIotSqlVersion"] == "2015-10-08"
    assert rule["ruleDisabled"] is False
    assert "errorAction" not in rule


def test_enabling_and_disabling(iot: Any) -> None:
    rule = {"sql": "SELECT * FROM 'x'", "actions": [], "ruleDisabled": True}
    iot.create_topic_rule(ruleName="switched", topicRulePayload=rule)
    assert iot.get_topic_rule(ruleName="switched")["rule"]["ruleDisabled"] is True
    iot.enable_topic_rule(ruleName="switched")
    assert iot.get_topic_rule(ruleName="switched")["rule"]["ruleDisabled"] is False
    iot.disable_topic_rule(ruleName="switched")
    assert iot.get_topic_rule(ruleName="switched")["rule"]["ruleDisabled"] is True
    iot.delete_topic_rule(ruleName="switched")
    assert code(iot.get_topic_rule, ruleName="switched") == "UnauthorizedException"


def test_rule_that_is_not_there_is_denied_as_on_aws(iot: Any, role: str) -> None:
    calls = (iot.get_topic_rule, iot.delete_topic_rule, iot.enable_topic_rule, iot.disable_topic_rule)
    assert {code(call, ruleName="none") for call in calls} == {"UnauthorizedException"}
    assert code(iot.replace_topic_rule, ruleName="none", topicRulePayload=payload(role)) == "UnauthorizedException"


def test_action_without_destination_makes_one(iot: Any, role: str) -> None:
    http = {"url": "https://localhost:1/implicit/x"}
    iot.create_topic_rule(ruleName="implicit", topicRulePayload=payload(role, actions=[{"http": http}]))
    made = [d["httpUrlSummary"]["confirmationUrl"] for d in iot.list_topic_rule_destinations()["destinationSummaries"]]
    assert made.count(http["url"]) == 1
    iot.replace_topic_rule(ruleName="implicit", topicRulePayload=payload(role, actions=[{"http": http}]))
    made = [d["httpUrlSummary"]["confirmationUrl"] for d in iot.list_topic_rule_destinations()["destinationSummaries"]]
    assert made.count(http["url"]) == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sql": "nonsense"}, "SqlParseException"),
        ({"sql": "SELECT temp FROM 't' WHERE"}, "SqlParseException"),
        ({"sql": "SELECT nofunc(temp) FROM 't'"}, "SqlParseException"),
        ({"sql": "SELECT blah blah"}, "SqlParseException"),
        ({"sql": "SELECT * FROM 't' WHERE temp BETWEEN 1 AND 2"}, "SqlParseException"),
        ({"sql": "SELECT * FROM 'a/#/b'"}, "SqlParseException"),
        ({"actions": [{"http": {**HTTP, "headers": [{"key": "a", "value": "${nofunc("}]}}]}, "SqlParseException"),
        ({"actions": [{"s3": {"bucketName": "b", "key": "${", "roleArn": ""}}]}, "SqlParseException"),
        ({"awsIotSqlVersion": "2017-01-01"}, "InvalidRequestException"),
        ({"actions": [{"http": {**HTTP, "url": "http://localhost/ingest"}}]}, "InvalidRequestException"),
        ({"actions": [{"http": {**HTTP, "confirmationUrl": "https://other/ingest"}}]}, "InvalidRequestException"),
        ({"actions": [{"http": {**HTTP, "batchConfig": {"maxBatchSize": 11}}}]}, "InvalidRequestException"),
        ({"actions": [{"http": {**HTTP, "batchConfig": {"maxBatchOpenMs": 201}}}]}, "InvalidRequestException"),
        ({"actions": [{"http": {**HTTP, "headers": [{"key": "${a}", "value": "b"}]}}]}, "InvalidRequestException"),
        ({"actions": [{"http": HTTP}] * 11}, "InvalidRequestException"),
        ({"errorAction": {"http": HTTP}}, "InvalidRequestException"),
        (
            {"errorAction": {"sqs": {"roleArn": "arn:aws:iam::123456789012:role/none", "queueUrl": "q"}}},
            "InvalidRequestException",
        ),
    ],
)
def test_faulty_rules_are_refused_and_leave_nothing(
    iot: Any, role: str, changes: dict[str, Any], expected: str
) -> None:
    assert code(iot.create_topic_rule, ruleName="faulty", topicRulePayload=payload(role, **changes)) == expected
    assert code(iot.get_topic_rule, ruleName="faulty") == "UnauthorizedException"


@pytest.mark.parametrize(
    ("sql", "pattern"),
    [
        ("SET @t = temp * 2 SELECT @t AS t FROM 'set'", "set"),
        ("SELECT ' FROM ''x''' AS a FROM 'real'", "real"),
        ('SELECT * FROM "double"', "double"),
        ("SELECT * FROM 'it''s'", "it's"),
    ],
)
def test_a_statement_that_the_engine_runs_is_accepted_with_its_topic(iot: Any, sql: str, pattern: str) -> None:
    iot.create_topic_rule(ruleName="taken", topicRulePayload={"sql": sql, "actions": []})
    listed = {rule["ruleName"]: rule["topicPattern"] for rule in iot.list_topic_rules()["rules"]}
    iot.delete_topic_rule(ruleName="taken")
    assert listed["taken"] == pattern


def test_faulty_replacement_leaves_the_rule(iot: Any, role: str) -> None:
    iot.create_topic_rule(ruleName="stays", topicRulePayload=payload(role))
    faulty = payload(role, sql="nonsense")
    assert code(iot.replace_topic_rule, ruleName="stays", topicRulePayload=faulty) == "SqlParseException"
    assert iot.get_topic_rule(ruleName="stays")["rule"]["sql"] == SQL
    assert code(iot.create_topic_rule, ruleName="stays", topicRulePayload=payload(role)) == (
        "ResourceAlreadyExistsException"
    )
    assert code(iot.create_topic_rule, ruleName="with-dash", topicRulePayload=payload(role)) == (
        "InvalidRequestException"
    )


def test_role_must_trust_iot(aws: Emulator, iot: Any) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": trust})
    role = aws.client("iam").create_role(RoleName="other", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    with pytest.raises(ClientError, match="Unable to assume role"):
        iot.create_topic_rule(ruleName="untrusted", topicRulePayload=payload(role))


def test_policy_versions_end_at_five(iot: Any) -> None:
    def document(number: int) -> str:
        statement = {"Effect": "Allow", "Action": "iot:Connect", "Resource": f"arn:aws:iot:*:*:client/{number}"}
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    made = iot.create_policy(policyName="versions", policyDocument=document(1), tags=[{"Key": "a", "Value": "b"}])
    assert iot.list_tags_for_resource(resourceArn=made["policyArn"])["tags"] == [{"Key": "a", "Value": "b"}]
    for number in range(2, 6):
        iot.create_policy_version(policyName="versions", policyDocument=document(number), setAsDefault=True)
    sixth = {"policyName": "versions", "policyDocument": document(6), "setAsDefault": True}
    assert code(iot.create_policy_version, **sixth) == "VersionsLimitExceededException"
    iot.delete_policy_version(policyName="versions", policyVersionId="1")
    assert iot.create_policy_version(**sixth)["policyVersionId"] == "6"
    found = iot.get_policy(policyName="versions")
    assert (found["defaultVersionId"], json.loads(found["policyDocument"])) == ("6", json.loads(document(6)))
    iot.delete_policy_version(policyName="versions", policyVersionId="2")
    assert iot.create_policy_version(policyName="versions", policyDocument=document(7))["isDefaultVersion"] is False
    assert code(iot.create_policy, policyName="broken", policyDocument="{") == "MalformedPolicyException"


def test_policies_have_at_most_2048_characters_beside_white_space(iot: Any) -> None:
    """https://docs.aws.amazon.com/cli/latest/reference/iot/create-policy.html"""
    statement = {"Effect": "Allow", "Action": "iot:Connect", "Resource": ""}
    frame = len(json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":")))

    def policy(length: int) -> str:
        full = {**statement, "Resource": "r" * (length - frame)}
        return json.dumps({"Version": "2012-10-17", "Statement": [full]}, indent=8)

    assert code(iot.create_policy, policyName="long", policyDocument=policy(2049)) == "MalformedPolicyException"
    iot.create_policy(policyName="long", policyDocument=policy(2048))
    version = {"policyName": "long", "policyDocument": policy(2049)}
    assert code(iot.create_policy_version, **version) == "MalformedPolicyException"


@pytest.mark.parametrize("tag", [
    {"Key": "aws:team", "Value": "water"},
    {"Key": "k" * 128, "Value": "v"},
    {"Key": "k", "Value": "v" * 256},
])  # fmt: skip
def test_tags_that_aws_refuses(iot: Any, tag: dict[str, str]) -> None:
    policy = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]})
    refused = code(iot.create_policy, policyName="refused", policyDocument=policy, tags=[tag])
    assert refused == "InvalidRequestException"
    assert code(iot.get_policy, policyName="refused") == "ResourceNotFoundException"
    arn = iot.create_thing_type(thingTypeName="refused")["thingTypeArn"]
    assert code(iot.tag_resource, resourceArn=arn, tags=[tag]) == "InvalidRequestException"
    many = [{"Key": f"k{number}", "Value": ""} for number in range(51)]
    assert code(iot.tag_resource, resourceArn=arn, tags=many) == "InvalidRequestException"
    assert iot.list_tags_for_resource(resourceArn=arn)["tags"] == []


def test_tags_are_put_and_taken(iot: Any) -> None:
    arn = iot.create_thing_type(thingTypeName="sensor", tags=[{"Key": "a", "Value": "1"}])["thingTypeArn"]
    iot.tag_resource(resourceArn=arn, tags=[{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "3"}])
    assert iot.list_tags_for_resource(resourceArn=arn)["tags"] == [
        {"Key": "a", "Value": "3"},
        {"Key": "b", "Value": "2"},
    ]
    iot.untag_resource(resourceArn=arn, tagKeys=["a", "missing"])
    assert iot.list_tags_for_resource(resourceArn=arn)["tags"] == [{"Key": "b", "Value": "2"}]
    missing = arn.replace("sensor", "none")
    assert code(iot.list_tags_for_resource, resourceArn=missing) == "ResourceNotFoundException"


def test_endpoint_is_always_the_same(iot: Any) -> None:
    found = {iot.describe_endpoint(endpointType="iot:Data-ATS")["endpointAddress"] for _ in range(2)}
    assert found == {f"sandbox-ats.iot.{REGION}.amazonaws.com"}
