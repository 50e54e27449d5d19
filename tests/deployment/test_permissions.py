"""Permissions: of the rule's role, by IAM's simulator; of the operator, by preflight."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deployment.colleague import as_user
from tests.deployment.conftest import ENDPOINT, REGION, Playbook

Aws = Callable[[str], Any]
ACCOUNT = "123456789012"
RULE_ROLE = f"arn:aws:iam::{ACCOUNT}:role/iot-receiver-rule"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:iot-receiver-rule-dead-letters"
ALLOWED = {("sqs:SendMessage", "queue"), ("secretsmanager:GetSecretValue", "secret"),
           ("secretsmanager:DescribeSecret", "secret")}  # get_secret's documentation asks for both
ACTIONS = ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:PurgeQueue", "sqs:SetQueueAttributes",
           "secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret", "secretsmanager:PutSecretValue",
           "secretsmanager:UpdateSecretVersionStage", "secretsmanager:DeleteSecret", "secretsmanager:ListSecrets",
           "dynamodb:PutItem", "dynamodb:Query", "iot:Publish", "iot:ConfirmTopicRuleDestination", "iam:PassRole",
           "kms:Decrypt", "s3:GetObject", "sts:AssumeRole", "lambda:InvokeFunction"]


def allowed(aws: Aws, role: str, actions: list[str], resources: dict[str, str]) -> set[tuple[str, str]]:
    """Which actions a role may do on which of the resources, named by ARN. IAM refuses to simulate a mix of actions."""
    simulate = aws("iam").simulate_principal_policy
    answers = [simulate(PolicySourceArn=role, ActionNames=[action], ResourceArns=[*resources]) for action in actions]
    return {(result["EvalActionName"], resources[result["EvalResourceName"]])
            for answer in answers for result in answer["EvaluationResults"] if result["EvalDecision"] == "allowed"}


def test_rules_role_may_send_dead_letters_and_read_the_secret_and_nothing_else(aws: Aws) -> None:
    secret = aws("secretsmanager").describe_secret(SecretId="iot-receiver/secret")["ARN"]
    resources = {QUEUE: "queue", secret: "secret", QUEUE.replace("rule", "receiver"): "other queue",
                 secret.replace("iot-receiver/", "other/"): "other secret", "*": "anything"}
    assert allowed(aws, RULE_ROLE, ACTIONS, resources) == ALLOWED


def test_readings_role_may_query_the_table_and_list_things_and_nothing_else(aws: Aws) -> None:
    table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/iot-readings"
    resources = {table: "table", table.replace("readings", "other"): "other table", "*": "anything", QUEUE: "queue"}
    actions = [*ACTIONS, "dynamodb:Scan", "dynamodb:GetItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem",
               "dynamodb:DescribeTable", "iot:ListThings", "iot:DescribeThing", "iot:CreateThing", "iot:DeleteThing"]
    found = allowed(aws, f"arn:aws:iam::{ACCOUNT}:role/iot-receiver-readings", actions, resources)
    # Things have no ARN to list by (AWS's service authorization reference), so that permission names no resource.
    assert {each for each in found if each[0] != "iot:ListThings"} == {("dynamodb:Query", "table")}
    assert ("iot:ListThings", "anything") in found


def test_rules_role_is_taken_by_iot_core_alone(aws: Aws) -> None:
    iam = aws("iam")
    [statement] = iam.get_role(RoleName="iot-receiver-rule")["Role"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "iot.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    assert iam.list_attached_role_policies(RoleName="iot-receiver-rule")["AttachedPolicies"] == []
    assert iam.list_role_policies(RoleName="iot-receiver-rule")["PolicyNames"] == ["rule"]


@pytest.fixture
def may_not_pass(aws: Aws, tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Options to run as a user who may do everything except pass roles."""
    iam, name = aws("iam"), "may-not-pass"
    statements = [{"Effect": "Allow", "Action": "*", "Resource": "*"},
                  {"Effect": "Deny", "Action": "iam:PassRole", "Resource": RULE_ROLE}]
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="rights",
                        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    yield as_user(key, tmp_path / "operator.yml")
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName=name, PolicyName="rights")
    iam.delete_user(UserName=name)


def test_preflight_names_the_role_that_the_operator_may_not_pass(
    playbook: Playbook, may_not_pass: tuple[str, ...]
) -> None:
    refused = playbook("playbooks/infrastructure.yml", "--tags", "preflight", *may_not_pass)
    assert refused.status != 0
    told = " ".join(refused.output.split())
    assert f"user/may-not-pass may not iam:PassRole on {RULE_ROLE} when it is passed to iot.amazonaws.com" in told
    assert ENDPOINT in told
    assert "role/iot-receiver-node" not in told
