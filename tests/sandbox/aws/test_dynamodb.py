"""DynamoDB: tables and rows are DynamoDB Local's; what that lacks is answered so that Terraform's plan stays empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.emulator import ACCOUNT, KEY, REGION, SECRET, Emulator, running
from tests.support.certificates import Authority
from tests.support.dynamodb import dynamodb_local

ARN = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/readings"


@pytest.fixture(scope="module", name="local")
def _local() -> Iterator[str]:
    with dynamodb_local() as url:
        yield url


@pytest.fixture(scope="module", name="emulator")
def _emulator(tmp_path_factory: pytest.TempPathFactory, aws_authority: Authority, local: str) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("dynamodb"), aws_authority, DYNAMODB_URL=local) as emulator:
        yield emulator


@pytest.fixture(name="dynamodb")
def _dynamodb(emulator: Emulator) -> Any:
    return emulator.client("dynamodb")


@pytest.fixture(name="table")
def _table(dynamodb: Any) -> Iterator[str]:
    dynamodb.create_table(
        TableName="readings",
        KeySchema=[{"AttributeName": "deviceId", "KeyType": "HASH"}, {"AttributeName": "Time", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "deviceId", "AttributeType": "S"},
            {"AttributeName": "Time", "AttributeType": "S"},
        ],
        BillingMode="PAY_PER_REQUEST",
        SSESpecification={"Enabled": True},
        DeletionProtectionEnabled=True,
        Tags=[{"Key": "Project", "Value": "x"}],
    )
    yield "readings"
    dynamodb.update_table(TableName="readings", DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName="readings")


def test_rows_are_seen_at_both_ends(dynamodb: Any, local: str, table: str) -> None:
    direct: Any = boto3.client(
        "dynamodb", endpoint_url=local, region_name=REGION, aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )
    here = {"deviceId": {"S": "a"}, "Time": {"S": "1"}, "temperature": {"N": "21.5"}}
    there = {"deviceId": {"S": "a"}, "Time": {"S": "2"}}
    dynamodb.put_item(TableName=table, Item=here)
    direct.put_item(TableName=table, Item=there)
    for client in (dynamodb, direct):
        found = client.query(
            TableName=table, KeyConditionExpression="deviceId = :d", ExpressionAttributeValues={":d": {"S": "a"}}
        )
        assert found["Items"] == [here, there]
    assert dynamodb.get_item(TableName=ARN, Key={"deviceId": {"S": "a"}, "Time": {"S": "2"}})["Item"] == there


def test_description_is_complete(dynamodb: Any, table: str) -> None:
    found = dynamodb.describe_table(TableName=table)["Table"]
    assert found["TableArn"] == ARN
    assert found["TableStatus"] == "ACTIVE"
    assert found["SSEDescription"]["Status"] == "ENABLED"
    assert found["DeletionProtectionEnabled"] is True
    assert found["TableId"] == dynamodb.describe_table(TableName=ARN)["Table"]["TableId"]
    assert found["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"


def test_protected_table_stays(dynamodb: Any, table: str) -> None:
    with pytest.raises(ClientError, match="protected against deletion"):
        dynamodb.delete_table(TableName=table)
    assert dynamodb.describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE"


def test_recovery_expiry_and_tags_are_kept(dynamodb: Any, table: str) -> None:
    def recovery() -> dict[str, Any]:
        found = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
        return dict(found["PointInTimeRecoveryDescription"])

    assert recovery() == {"PointInTimeRecoveryStatus": "DISABLED"}
    specification = {"PointInTimeRecoveryEnabled": True, "RecoveryPeriodInDays": 7}
    dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=specification)
    assert recovery()["PointInTimeRecoveryStatus"] == "ENABLED"
    assert recovery()["RecoveryPeriodInDays"] == 7
    dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})
    expiry = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert expiry == {"TimeToLiveStatus": "ENABLED", "AttributeName": "ttl"}
    dynamodb.tag_resource(ResourceArn=ARN, Tags=[{"Key": "a", "Value": "b"}])
    dynamodb.untag_resource(ResourceArn=ARN, TagKeys=["Project"])
    assert dynamodb.list_tags_of_resource(ResourceArn=ARN)["Tags"] == [{"Key": "a", "Value": "b"}]


def test_errors_are_dynamodbs_own(dynamodb: Any, table: str) -> None:
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.describe_table(TableName="missing")
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        dynamodb.describe_continuous_backups(TableName="missing")
    with pytest.raises(dynamodb.exceptions.ResourceInUseException):
        dynamodb.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "a", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "a", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(
            TableName=table,
            Item={"deviceId": {"S": "c"}, "Time": {"S": "1"}},
            ConditionExpression="attribute_exists(deviceId)",
        )


def test_limits_and_warm_throughput_are_kept(dynamodb: Any, table: str) -> None:
    """https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/warm-throughput.html"""

    def found() -> dict[str, Any]:
        return dict(dynamodb.describe_table(TableName=table)["Table"])

    assert "OnDemandThroughput" not in found()
    assert found()["WarmThroughput"] == {
        "ReadUnitsPerSecond": 12000, "WriteUnitsPerSecond": 4000, "Status": "ACTIVE",
    }  # fmt: skip
    limits = {"MaxReadRequestUnits": 500, "MaxWriteRequestUnits": 700}
    dynamodb.update_table(TableName=table, OnDemandThroughput=limits)
    dynamodb.update_table(TableName=table, OnDemandThroughput={"MaxReadRequestUnits": -1})
    dynamodb.update_table(TableName=table, WarmThroughput={"WriteUnitsPerSecond": 9000})
    assert found()["OnDemandThroughput"] == {"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": 700}
    warm = found()["WarmThroughput"]
    assert (warm["ReadUnitsPerSecond"], warm["WriteUnitsPerSecond"]) == (12000, 9000)
    with pytest.raises(ClientError, match="decreasing WarmThroughput is not supported"):
        dynamodb.update_table(TableName=table, WarmThroughput={"WriteUnitsPerSecond": 8999})
