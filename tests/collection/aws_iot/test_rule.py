"""Rules against an emulated account: every field, batching, error action, tags, roles that are not known yet."""

import json
from typing import Any

import pytest

from tests.collection.faults import Proxy
from tests.collection.helpers import ACCOUNT, Aws, Run, prediction_holds

MODULE = "iot_topic_rule"
ROLE = "arn:aws:iam::123456789012:role/rule"
TRUST = {"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "iot.amazonaws.com"}}]}  # fmt: skip
URL = "https://ingest.invalid/ingest"
QUEUE = {"queueUrl": "https://sqs.us-east-2.amazonaws.com/123456789012/dead", "roleArn": ROLE}
HTTP: dict[str, Any] = {
    "url": URL,
    "confirmationUrl": URL,
    "headers": [
        {"key": "X-Iot-Secret", "value": f"${{get_secret('s', 'SecretString', 'secret', '{ROLE}')}}"},
        {"key": "X-Kind", "value": "reading"},
    ],
    "auth": {"sigv4": {"signingRegion": "us-east-2", "serviceName": "execute-api", "roleArn": ROLE}},
    "enableBatching": True,
    "batchConfig": {"maxBatchSize": 10, "maxBatchOpenMs": 50, "maxBatchSizeBytes": 5000, "batchAcrossTopics": True},
}
ASKED: dict[str, Any] = {
    "name": "r1",
    "sql": "SELECT *\n  FROM 'things/telemetry'",
    "description": "Readings",
    "actions": [{"http": HTTP}],
    "error_action": {"sqs": QUEUE},
}
SIMPLE: dict[str, Any] = {"sql": "SELECT * FROM 'a'", "actions": []}


@pytest.fixture(autouse=True, scope="module")
def _role(endpoint: str) -> None:
    import boto3  # noqa: PLC0415 - after the finder

    iam = boto3.client("iam", endpoint_url=endpoint, region_name="us-east-2",
                       aws_access_key_id="a", aws_secret_access_key="b")  # fmt: skip
    iam.create_role(RoleName="rule", AssumeRolePolicyDocument=json.dumps(TRUST))


def stored(aws: Aws, name: str) -> dict[str, Any]:
    """A rule as boto3 returns it, in the module's spelling."""
    iot = aws("iot")
    seen = iot.get_topic_rule(ruleName=name)
    rule, tags = seen["rule"], iot.list_tags_for_resource(resourceArn=seen["ruleArn"])["tags"]
    return {
        "name": rule["ruleName"],
        "arn": seen["ruleArn"],
        "sql": rule["sql"],
        "sql_version": rule["awsIotSqlVersion"],
        "description": rule["description"],
        "actions": rule["actions"],
        "error_action": rule.get("errorAction"),
        "enabled": not rule["ruleDisabled"],
        "tags": {tag["Key"]: tag["Value"] for tag in tags},
    }


def test_its_life(run: Run, aws: Aws, proxy: Proxy) -> None:
    made = prediction_holds(run, MODULE, "rule", **ASKED)
    assert made["rule"] == stored(aws, "r1")
    assert made["rule"]["actions"] == ASKED["actions"]
    assert made["rule"]["error_action"] == ASKED["error_action"]
    switched = prediction_holds(run, MODULE, "rule", **ASKED, enabled=False, endpoint_url=proxy.url)
    assert switched["rule"] == stored(aws, "r1")
    assert not switched["rule"]["enabled"]
    assert proxy.count("PATCH /rules/") == 0  # switched, not replaced
    assert prediction_holds(run, MODULE, "rule", **ASKED)["rule"]["enabled"]
    changed = ASKED | {"sql": "SELECT temp FROM 'things/telemetry'", "error_action": None}
    replaced = prediction_holds(run, MODULE, "rule", **changed)
    assert replaced["rule"] == stored(aws, "r1")
    assert replaced["rule"]["error_action"] is None
    assert prediction_holds(run, MODULE, "rule", name="r1", state="absent")["changed"]
    assert "r1" not in [rule["ruleName"] for rule in aws("iot").list_topic_rules()["rules"]]


def test_the_same_meaning_is_no_change(run: Run, aws: Aws, proxy: Proxy) -> None:
    run(MODULE, **ASKED | {"name": "r2"})
    batch = {name: str(value) for name, value in HTTP["batchConfig"].items()}  # as templates give them
    http = HTTP | {"headers": HTTP["headers"][::-1], "batchConfig": batch, "enableBatching": "yes"}
    same = ASKED | {"name": "r2", "sql": "SELECT * FROM 'things/telemetry' ", "actions": [{"http": http, "sqs": None}]}
    same |= {"error_action": {"sqs": QUEUE | {"useBase64": False}}}
    again = run(MODULE, **same, endpoint_url=proxy.url)
    assert not again["changed"]
    assert again["rule"] == stored(aws, "r2")
    assert proxy.count("PATCH|POST") == 0


@pytest.mark.parametrize(
    "action",
    [
        {"sns": {"targetArn": "arn:aws:sns:us-east-2:123456789012:t", "roleArn": ROLE, "messageFormat": "JSON"}},
        {"republish": {"roleArn": ROLE, "topic": "b", "qos": 1, "headers": {
            "contentType": "text/plain", "userProperties": [{"key": "a", "value": "b"}]}}},
        {"dynamoDBv2": {"roleArn": ROLE, "putItem": {"tableName": "t"}}},
        {"kafka": {"destinationArn": "arn:x", "topic": "t", "clientProperties": {"acks": "1"}, "headers": [
            {"key": "a", "value": "b"}]}},
        {"timestream": {"roleArn": ROLE, "databaseName": "d", "tableName": "t", "dimensions": [
            {"name": "a", "value": "b"}], "timestamp": {"value": "${timestamp()}", "unit": "MILLISECONDS"}}},
        {"s3": {"roleArn": ROLE, "bucketName": "b", "key": "k", "cannedAcl": "private"}},
        {"firehose": {"roleArn": ROLE, "deliveryStreamName": "d", "separator": "\n", "batchMode": True}},
        {"lambda": {"functionArn": "arn:aws:lambda:us-east-2:123456789012:function:f"}},
        {"cloudwatchLogs": {"roleArn": ROLE, "logGroupName": "l", "batchMode": False}},
        {"location": {"roleArn": ROLE, "trackerName": "t", "deviceId": "d", "latitude": "1", "longitude": "2"}},
    ],
)  # fmt: skip
def test_every_action_comes_back_as_it_was_asked(run: Run, aws: Aws, action: dict[str, Any]) -> None:
    asked = {"name": "r3", "sql": "SELECT * FROM 'a'", "actions": [action], "error_action": action}
    assert run(MODULE, **asked, wait=False)["changed"]
    again = run(MODULE, **asked)
    assert not again["changed"]
    assert again["rule"] == stored(aws, "r3")
    assert again["rule"]["actions"] == [action]


def test_names_that_the_api_does_not_know_are_refused_in_both_modes(run: Run) -> None:
    for check in (True, False):
        refused = run(MODULE, name="r4", sql="SELECT 1", actions=[{"http": {"uri": URL}}], check=check)
        assert "create_topic_rule of r4" in refused["msg"]
        assert "Correct the name" in refused["msg"]
        assert "uri" in refused["msg"]
        assert "url" in refused["msg"]


@pytest.mark.parametrize(
    ("faulty", "words"),
    [
        ({"http": "x"}, "actions[0].http"),
        ({"http": {"url": URL, "headers": "x"}}, "headers"),
        ({"http": {"url": URL, "headers": [None]}}, "headers[0]"),
        ({"http": {"url": URL, "headers": ["a"]}}, "headers[0]"),
        ({"http": {"url": URL, "enableBatching": True, "batchConfig": "x"}}, "batchConfig"),
        ({"sqs": [1]}, "actions[0].sqs"),
        ({}, "actions[0] must be a mapping of one action type, such as http, to its settings, and names none"),
        ({"http": None}, "and names none"),
        ({"http": {"url": URL}, "sqs": QUEUE}, "and names http and sqs"),
    ],
)
def test_what_is_no_action_is_refused_in_both_modes(run: Run, faulty: dict[str, Any], words: str) -> None:
    run(MODULE, name="r11", **SIMPLE)
    for name in ("r11", "new"):
        for secret in ({}, {"secret_headers": {"X-Secret": "0123456789"}}):
            for check in (True, False):
                asked = {"name": name, "sql": SIMPLE["sql"], **secret, "check": check}
                assert words in run(MODULE, **asked, actions=[faulty])["msg"]
                refused = run(MODULE, **asked, actions=[], error_action=faulty)
                assert words.replace("actions[0]", "error") in refused["msg"].replace("errorAction", "error").replace(
                    "error_action", "error"
                )
    assert not run(MODULE, name="r11", **SIMPLE)["changed"]


def test_tags(run: Run, aws: Aws) -> None:
    tagged = {"name": "r5", **SIMPLE}
    made = prediction_holds(run, MODULE, "rule", **tagged, tags={"a": "1 & 2", "b": 2})
    assert made["rule"]["tags"] == {"a": "1 & 2", "b": "2"} == stored(aws, "r5")["tags"]
    assert not run(MODULE, **tagged)["changed"]
    added = prediction_holds(run, MODULE, "rule", **tagged, tags={"c": "3"}, purge_tags=False)
    assert added["rule"]["tags"] == {"a": "1 & 2", "b": "2", "c": "3"} == stored(aws, "r5")["tags"]
    purged = prediction_holds(run, MODULE, "rule", **tagged, tags={"b": "3"})
    assert purged["rule"]["tags"] == {"b": "3"} == stored(aws, "r5")["tags"]
    assert purged["rule"]["arn"] == f"{ACCOUNT}:rule/r5"


def test_faults_are_named(run: Run, proxy: Proxy) -> None:
    assert "forward_to_alb" in run(MODULE, name="forward-to-alb", state="absent")["msg"]
    missing = {"sqs": QUEUE | {"roleArn": "arn:aws:iam::123456789012:role/none"}}
    refused = run(MODULE, name="r6", sql="SELECT * FROM 'a'", actions=[missing], role_timeout=0)
    assert "create_topic_rule of r6 failed. The role must exist" in refused["msg"]
    assert "role/none" in refused["msg"]
    assert "Correct sql" in run(MODULE, name="r6", sql="SELEKT", actions=[])["msg"]
    denial = "User: u is not authorized to perform: iam:PassRole on resource: role/rule"
    proxy.refuse("POST /rules/", "AccessDeniedException", status=403, message=denial)
    assert "Allow the caller iam:PassRole" in run(MODULE, name="r6", **SIMPLE, endpoint_url=proxy.url)["msg"]


def test_a_rule_that_may_not_be_read_is_not_made_anew(run: Run, proxy: Proxy) -> None:
    run(MODULE, name="r7", **SIMPLE)
    proxy.refuse("GET /rules/r7$", "UnauthorizedException", times=9, status=401)
    refused = run(MODULE, name="r7", **SIMPLE, endpoint_url=proxy.url)
    assert "iot:GetTopicRule" in refused["msg"]


def test_a_role_made_a_moment_ago_is_waited_for(run: Run, aws: Aws, proxy: Proxy) -> None:
    message = "Unable to assume role, role ARN: arn:aws:iam::123456789012:role/rule"
    proxy.refuse("POST /rules/r8$", "InvalidRequestException", times=2, message=message)
    asked = {"name": "r8", "sql": "SELECT * FROM 'a'", "actions": [{"sqs": QUEUE}], "endpoint_url": proxy.url}
    assert run(MODULE, **asked)["rule"] == stored(aws, "r8")
    assert proxy.count("POST /rules/r8$") == 3


def test_reads_that_lag_behind(run: Run, aws: Aws, proxy: Proxy) -> None:
    asked = {"name": "r9", **SIMPLE, "endpoint_url": proxy.url}
    proxy.refuse("GET /rules/r9$", "UnauthorizedException", times=3, status=401)
    run(MODULE, **asked | {"name": "before"})
    proxy.lag("GET /rules$", times=3)
    assert run(MODULE, **asked)["rule"] == stored(aws, "r9")
    proxy.lag("GET /rules/r9$", times=3)
    changed = run(MODULE, **asked | {"description": "new"})
    assert changed["rule"] == stored(aws, "r9")
    assert changed["rule"]["description"] == "new"
    proxy.refuse("(PATCH|DELETE) /rules/r9$", "ConflictingResourceUpdateException", times=2, status=409)
    assert run(MODULE, name="r9", state="absent", endpoint_url=proxy.url)["changed"]


def test_one_that_another_run_makes_or_deletes_meanwhile(run: Run, aws: Aws, proxy: Proxy) -> None:
    iot = aws("iot")
    other = {"sql": "SELECT * FROM 'other'", "actions": []}
    proxy.before("POST /rules/r10$", lambda: iot.create_topic_rule(ruleName="r10", topicRulePayload=other))
    made = run(MODULE, name="r10", **SIMPLE, tags={"a": "b"}, endpoint_url=proxy.url)
    assert made["rule"] == stored(aws, "r10")
    assert made["rule"]["sql"] == SIMPLE["sql"]
    assert made["rule"]["tags"] == {"a": "b"}
    proxy.before("DELETE /rules/r10$", lambda: iot.delete_topic_rule(ruleName="r10"))
    assert run(MODULE, name="r10", state="absent", endpoint_url=proxy.url)["changed"]
