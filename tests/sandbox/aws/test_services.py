"""Services that moto emulates well enough, and what must hold of them for rotation and redrive."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.sandbox.aws.emulator import Emulator
from tests.support.waiting import until


def test_secret_is_the_version_that_carries_the_label(aws: Emulator) -> None:
    secrets: Any = aws.client("secretsmanager")
    name = secrets.create_secret(Name="iot/rotated")["Name"]
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.get_secret_value(SecretId=name)
    first = secrets.put_secret_value(SecretId=name, SecretString="1")["VersionId"]
    second = secrets.put_secret_value(SecretId=name, SecretString="2", VersionStages=["AWSPENDING"])["VersionId"]

    def value(**which: str) -> str:
        return str(secrets.get_secret_value(SecretId=name, **which)["SecretString"])

    assert (value(), value(VersionStage="AWSPENDING")) == ("1", "2")
    secrets.update_secret_version_stage(
        SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=second, RemoveFromVersionId=first
    )
    assert (value(), value(VersionStage="AWSPREVIOUS"), value(VersionId=first)) == ("2", "1", "1")
    secrets.update_secret_version_stage(SecretId=name, VersionStage="AWSPENDING", RemoveFromVersionId=second)
    described = secrets.describe_secret(SecretId=name)
    assert described["VersionIdsToStages"] == {first: ["AWSPREVIOUS"], second: ["AWSCURRENT"]}
    time.sleep(1.1)  # dates are in seconds
    secrets.update_secret_version_stage(SecretId=name, VersionStage="AWSPREVIOUS", RemoveFromVersionId=first)
    assert secrets.describe_secret(SecretId=name)["LastChangedDate"] > described["LastChangedDate"]


def test_a_name_is_taken_until_its_secret_cannot_be_restored(aws: Emulator) -> None:
    secrets: Any = aws.client("secretsmanager")
    secrets.create_secret(Name="iot/deleted")
    secrets.delete_secret(SecretId="iot/deleted", RecoveryWindowInDays=7)
    with pytest.raises(secrets.exceptions.InvalidRequestException, match="already scheduled for deletion"):
        secrets.create_secret(Name="iot/deleted")
    secrets.restore_secret(SecretId="iot/deleted")
    secrets.delete_secret(SecretId="iot/deleted", ForceDeleteWithoutRecovery=True)
    secrets.create_secret(Name="iot/deleted")


def test_logging_of_iot_core_is_one_setting(aws: Emulator) -> None:
    iot: Any = aws.client("iot")
    with pytest.raises(iot.exceptions.NotConfiguredException):
        iot.get_v2_logging_options()
    role = "arn:aws:iam::123456789012:role/iot-logging"
    with pytest.raises(iot.exceptions.InvalidRequestException):
        iot.set_v2_logging_options(defaultLogLevel="ERROR")
    iot.set_v2_logging_options(roleArn=role, defaultLogLevel="ERROR")
    iot.set_v2_logging_options(disableAllLogs=True)
    found = iot.get_v2_logging_options()
    assert (found["roleArn"], found["defaultLogLevel"], found["disableAllLogs"]) == (role, "ERROR", True)


def test_dead_letters_gather_in_their_queue(aws: Emulator) -> None:
    sqs: Any = aws.client("sqs")
    dead = sqs.create_queue(QueueName="dead", Attributes={"SqsManagedSseEnabled": "true"})["QueueUrl"]
    assert dead.startswith(aws.url)
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    attributes = {"RedrivePolicy": policy, "VisibilityTimeout": "0"}
    source = sqs.create_queue(QueueName="source", Attributes=attributes)["QueueUrl"]
    sqs.send_message(QueueUrl=source, MessageBody="lost")
    assert sqs.receive_message(QueueUrl=source)["Messages"][0]["Body"] == "lost"

    def arrived() -> Any:
        sqs.receive_message(QueueUrl=source)
        return sqs.receive_message(QueueUrl=dead).get("Messages")

    assert until(arrived)[0]["Body"] == "lost"


def test_a_record_that_was_deleted_can_be_made_again(aws: Emulator) -> None:
    route53: Any = aws.client("route53")
    zone = route53.create_hosted_zone(Name="again.test", CallerReference="again")["HostedZone"]["Id"]

    def change(action: str, name: str) -> None:
        record = {"Name": name, "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.1"}]}
        batch = {"Changes": [{"Action": action, "ResourceRecordSet": record}]}
        route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)

    def names() -> set[str]:
        found = route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        return {each["Name"] for each in found if each["Type"] == "A"}

    change("CREATE", "_validation.a.again.test")
    change("CREATE", "a.again.test")
    with pytest.raises(route53.exceptions.InvalidChangeBatch, match="already exists"):
        change("CREATE", "a.again.test")
    change("DELETE", "a.again.test")
    assert names() == {"_validation.a.again.test."}
    change("CREATE", "a.again.test")
    assert names() == {"_validation.a.again.test.", "a.again.test."}


def test_instance_profiles_are_listed_by_path(aws: Emulator) -> None:
    """Karpenter deletes the profiles that it finds below its own path."""
    iam = aws.client("iam")
    iam.create_instance_profile(InstanceProfileName="nodes")
    iam.create_instance_profile(InstanceProfileName="made", Path="/karpenter/us-east-2/scaled/")

    def names(**which: str) -> set[str]:
        found = iam.list_instance_profiles(**which)["InstanceProfiles"]
        return {each["InstanceProfileName"] for each in found}

    assert names(PathPrefix="/karpenter/us-east-2/scaled/") == {"made"}
    assert names() >= {"nodes", "made"}
