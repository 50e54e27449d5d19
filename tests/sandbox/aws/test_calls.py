"""The record of calls: each is counted under the role, user or operator that signed it."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.emulator import ACCOUNT, KEY, REGION, SECRET, Emulator, running
from tests.support.certificates import Authority
from tests.support.dynamodb import SHORT_LIVED, await_answer, jars
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.waiting import until

ROOT_ARN = f"arn:aws:iam::{ACCOUNT}:root"
START = ROOT / "sandbox/roles/emulated_aws/files/dynamodb-local/start.bsh"


@dataclass
class Local:
    """A DynamoDB Local that counts calls as in the sandbox: its address, and the file of its counts."""

    url: str
    counts: Path


@pytest.fixture(scope="module", name="local")
def _local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    port, libraries = free_port(), jars()
    local = Local(f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("local") / "dynamodb-calls")
    command = [*SHORT_LIVED, f"-Djava.library.path={libraries}", "-cp", f"{libraries}/*", "bsh.Interpreter",
               str(START), "127.0.0.1", str(local.counts), "http://127.0.0.1:1", "-inMemory", "-sharedDb",
               "-disableTelemetry", "-port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    await_answer(local.url, process)
    yield local
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module", name="emulator")
def _emulator(
    tmp_path_factory: pytest.TempPathFactory, aws_authority: Authority, local: Local
) -> Iterator[Emulator]:
    variables = {"DYNAMODB_URL": local.url, "DYNAMODB_CALLS_FILE": str(local.counts)}
    with running(tmp_path_factory.mktemp("calls"), aws_authority, **variables) as emulator:
        yield emulator


def counted(emulator: Emulator, principal: str) -> dict[tuple[str, str], int]:
    """A principal's calls by action and resource."""
    calls = json.loads(emulator.get("/sandbox/calls")[2])["calls"]
    return {(each["action"], each["resource"]): each["count"] for each in calls if each["principal"] == principal}


def session_of(emulator: Emulator, role: str) -> tuple[str, dict[str, str]]:
    """A role's ARN, and keys of a session of it."""
    iam = emulator.client("iam")
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    document = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
    iam.put_role_policy(RoleName=role, PolicyName="all", PolicyDocument=json.dumps(document))
    keys = emulator.client("sts").assume_role(RoleArn=arn, RoleSessionName="tests")["Credentials"]
    return arn, {"key": keys["AccessKeyId"], "secret": keys["SecretAccessKey"], "token": keys["SessionToken"]}


def test_each_protocols_calls_are_counted_under_the_sessions_role(emulator: Emulator) -> None:
    role, keys = session_of(emulator, "protocols")
    queue = emulator.client("sqs").create_queue(QueueName="letters")["QueueUrl"]
    entries = [{"Id": "1", "MessageBody": "x"}]
    for _ in range(2):
        emulator.client("sqs", **keys).send_message_batch(QueueUrl=queue, Entries=entries)
    emulator.client("iam", **keys).get_role(RoleName="protocols")
    emulator.client("iot", **keys).list_things()
    emulator.client("iot", **keys).create_thing(thingName="d/1")
    emulator.client("iot", **keys).list_thing_principals(thingName="d/1")
    emulator.client("cloudwatch", **keys).describe_alarms()
    with pytest.raises(ClientError):
        emulator.client("secretsmanager", **keys).get_secret_value(SecretId="no such")
    assert counted(emulator, role) == {
        ("sqs:SendMessage", queue): 2,
        ("iam:GetRole", "protocols"): 1,
        ("iot:ListThings", ""): 1,
        ("iot:CreateThing", "d/1"): 1,
        ("iot:ListThingPrincipals", "d/1"): 1,
        ("cloudwatch:DescribeAlarms", ""): 1,
        ("secretsmanager:GetSecretValue", "no such"): 1,
    }


def test_users_and_the_operator_are_told_apart(emulator: Emulator) -> None:
    iam = emulator.client("iam")
    arn = iam.create_user(UserName="somebody")["User"]["Arn"]
    key = iam.create_access_key(UserName="somebody")["AccessKey"]
    emulator.client("sts", key["AccessKeyId"], key["SecretAccessKey"]).get_caller_identity()
    assert counted(emulator, arn) == {("sts:GetCallerIdentity", ""): 1}
    assert counted(emulator, ROOT_ARN)["iam:CreateUser", ""] == 1


def test_rows_are_counted_where_they_are_asked_for(emulator: Emulator, local: Local) -> None:
    role, keys = session_of(emulator, "rows")
    emulator.client("dynamodb").create_table(
        TableName="readings", KeySchema=[{"AttributeName": "deviceId", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "deviceId", "AttributeType": "S"}], BillingMode="PAY_PER_REQUEST")
    item = {"deviceId": {"S": "a"}}
    emulator.client("dynamodb", **keys).batch_write_item(RequestItems={"readings": [{"PutRequest": {"Item": item}}]})
    direct: Any = boto3.client("dynamodb", REGION, endpoint_url=local.url, aws_access_key_id=keys["key"],
                               aws_secret_access_key=keys["secret"], aws_session_token=keys["token"])
    for _ in range(3):
        assert direct.get_item(TableName="readings", Key=item)["Item"] == item
    with pytest.raises(direct.exceptions.ResourceNotFoundException):
        direct.scan(TableName="others")
    expected = {("dynamodb:BatchWriteItem", "readings"): 1, ("dynamodb:GetItem", ""): 3, ("dynamodb:Scan", ""): 1}
    until(lambda: counted(emulator, role) == expected, 10)


def test_the_record_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from iot_sandbox.aws import calls, settings  # noqa: PLC0415 - moto reads its settings at import

    monkeypatch.setattr(calls, "MOST", 2)
    record = calls.Calls(settings.Settings())
    scope = f"AWS4-HMAC-SHA256 Credential={KEY}/20260131/{REGION}/iam/aws4_request, Signature={SECRET}"
    for number in range(5):
        form = f"Action=Get{number}"
        record.add({"HTTP_AUTHORIZATION": scope, "CONTENT_TYPE": "application/x-www-form-urlencoded",
                    "CONTENT_LENGTH": str(len(form)), "wsgi.input": io.BytesIO(form.encode())})
    document = record.document()
    assert [each["action"] for each in document["calls"]] == ["iam:Get0", "iam:Get1"]
    assert document["left_out"] == 3
