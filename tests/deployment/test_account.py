"""What a foreign AWS client sees in the account after a deployment."""

import json
import time
from collections.abc import Callable
from typing import Any

from tests.deployment.conftest import DOMAIN, TABLE

Aws = Callable[[str], Any]


def test_destination_is_enabled_and_the_only_one(aws: Aws) -> None:
    destinations = aws("iot").list_topic_rule_destinations()["destinationSummaries"]
    assert [d["status"] for d in destinations] == ["ENABLED"]
    assert destinations[0]["httpUrlSummary"]["confirmationUrl"].startswith(f"https://{DOMAIN}/ingest")


def test_rule_forwards_with_batching_and_an_error_action(aws: Aws) -> None:
    rule = aws("iot").get_topic_rule(ruleName="forward_to_alb")["rule"]
    assert not rule["ruleDisabled"]
    assert "'things/telemetry'" in rule["sql"]
    [action] = rule["actions"]
    assert action["http"]["url"] == f"https://{DOMAIN}/ingest"
    assert [h["key"] for h in action["http"]["headers"]] == ["X-Iot-Secret"]
    assert "sqs" in rule["errorAction"]


def test_rule_holds_no_secret_in_clear(aws: Aws, secret: str) -> None:
    assert secret not in json.dumps(aws("iot").get_topic_rule(ruleName="forward_to_alb"), default=str)


def test_policy_binds_devices_to_their_own_thing(aws: Aws) -> None:
    policy = json.loads(aws("iot").get_policy(policyName="iot-thing-policy")["policyDocument"])
    for statement in policy["Statement"]:
        assert statement["Resource"] != "*"
        assert "*" not in statement["Action"]
    assert "${iot:Connection.Thing.ThingName}" in json.dumps(policy)


def test_every_thing_has_an_active_certificate_with_the_policy(aws: Aws) -> None:
    iot = aws("iot")
    things = {thing["thingName"] for thing in iot.list_things()["things"]}
    assert {"iot-verify", "edge-1"} <= things
    for thing in things:
        principals = iot.list_thing_principals(thingName=thing)["principals"]
        assert principals, thing
        for principal in principals:
            certificate = iot.describe_certificate(certificateId=principal.rsplit("/", 1)[1])
            assert certificate["certificateDescription"]["status"] == "ACTIVE"
            policies = iot.list_attached_policies(target=principal)["policies"]
            assert [p["policyName"] for p in policies] == ["iot-thing-policy"]


def test_table_has_the_documented_keys_and_rows(aws: Aws) -> None:
    dynamodb = aws("dynamodb")
    table = dynamodb.describe_table(TableName=TABLE)["Table"]
    keys = {key["KeyType"]: key["AttributeName"] for key in table["KeySchema"]}
    assert keys == {"HASH": "deviceId", "RANGE": "Time"}
    items = dynamodb.query(TableName=TABLE, KeyConditionExpression="deviceId = :d",
                           ExpressionAttributeValues={":d": {"S": "iot-verify"}})["Items"]
    assert len(items) >= 200
    for item in items:
        instant, _, message = item["Time"]["S"].partition("#")
        assert instant.endswith("Z")
        assert message
        assert "N" in item["temperature"]
        assert "S" in item["received_at"]


def test_the_edge_host_sends_by_itself(aws: Aws) -> None:
    def count() -> int:
        return int(aws("dynamodb").query(TableName=TABLE, KeyConditionExpression="deviceId = :d", Select="COUNT",
                                         ExpressionAttributeValues={":d": {"S": "edge-1"}})["Count"])

    before, deadline = count(), time.monotonic() + 40
    while count() == before and time.monotonic() < deadline:
        time.sleep(1)
    assert count() > before


def test_receivers_role_may_write_rows_and_little_else(aws: Aws, kubectl: Callable[..., Any]) -> None:
    account = kubectl("get", "serviceaccount", "iot-receiver", "-n", "apps")
    receiver_role = account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
    iam = aws("iam")
    role = receiver_role.rsplit("/", 1)[1]
    statements = []
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        statements += iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]["Statement"]
    granted = [statement["Action"] for statement in statements]
    actions = {action for some in granted for action in ([some] if isinstance(some, str) else some)}
    assert "dynamodb:BatchWriteItem" in actions
    assert not any("*" in action for action in actions)
