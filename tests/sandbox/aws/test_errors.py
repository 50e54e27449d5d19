"""Calls that are not emulated: an error in AWS's form at once, never a page that SDKs retry for minutes."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.emulator import Emulator


@pytest.mark.parametrize(
    ("service", "operation", "arguments"),
    [
        ("ec2", "describe_coip_pools", {}),  # EC2's own XML
        ("elbv2", "describe_trust_store_revocations", {"TrustStoreArn": "a"}),  # query, XML
        ("acm", "revoke_certificate", {"CertificateArn": "a" * 20, "RevocationReason": "UNSPECIFIED"}),  # JSON
        ("eks", "list_addons", {"clusterName": "c"}),  # REST, JSON, no route
        ("iot", "describe_audit_task", {"taskId": "t"}),  # REST, JSON, no method
        ("iotwireless", "list_destinations", {}),  # no such service
        ("route53", "list_cidr_collections", {}),  # REST, XML
    ],
)
def test_unknown_call_is_refused_at_once(
    aws: Emulator, service: str, operation: str, arguments: dict[str, Any]
) -> None:
    client = aws.client(service)
    start = time.monotonic()
    with pytest.raises(ClientError) as error:
        getattr(client, operation)(**arguments)
    response = error.value.response
    assert time.monotonic() - start < 5
    assert response["ResponseMetadata"]["RetryAttempts"] == 0
    assert response["ResponseMetadata"]["HTTPStatusCode"] in (400, 404, 501)
    assert "<html" not in str(error.value).lower()


def test_unknown_call_is_named(aws: Emulator) -> None:
    with pytest.raises(ClientError, match=r"UnknownOperationException.*does not emulate.*addons"):
        aws.client("eks").describe_addon_configuration(addonName="vpc-cni", addonVersion="v1")


def test_identity_differs_only_between_runs(aws: Emulator) -> None:
    status, kind, first = aws.get("/sandbox/identity")
    assert (status, kind) == (200, "application/json")
    assert aws.get("/sandbox/identity")[2] == first
    assert len(first) > 30


def test_operator_is_the_accounts_root(aws: Emulator) -> None:
    found = aws.client("sts").get_caller_identity()
    assert found["Arn"] == "arn:aws:iam::123456789012:root"
    user = aws.client("iam").create_user(UserName="someone")["User"]
    key = aws.client("iam").create_access_key(UserName="someone")["AccessKey"]
    found = aws.client("sts", key["AccessKeyId"], key["SecretAccessKey"]).get_caller_identity()
    assert found["Arn"] == user["Arn"]


def test_zone_exists_beforehand(aws: Emulator) -> None:
    zones = aws.client("route53").list_hosted_zones_by_name(DNSName="sandbox.test")["HostedZones"]
    assert [(z["Name"], z["Config"]["PrivateZone"]) for z in zones] == [("sandbox.test.", False)]
