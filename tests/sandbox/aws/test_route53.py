"""Route 53: a change is PENDING, then INSYNC; a name that was asked for before is answered by no record of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.emulator import Emulator, running
from tests.support.certificates import Authority
from tests.support.waiting import until


@pytest.fixture(scope="module", name="emulator")
def _emulator(tmp_path_factory: pytest.TempPathFactory, aws_authority: Authority) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("route53"), aws_authority, ROUTE53_SYNC_TIME="2") as emulator:
        yield emulator


def put(emulator: Emulator, name: str, kind: str, value: str) -> dict[str, Any]:
    route53 = emulator.client("route53")
    zone = route53.list_hosted_zones_by_name(DNSName="sandbox.test")["HostedZones"][0]["Id"]
    record = {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}]}
    batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]}
    return dict(route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)["ChangeInfo"])


def test_a_change_is_pending_before_it_is_insync(emulator: Emulator) -> None:
    """https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetChange.html"""
    route53 = emulator.client("route53")
    made = put(emulator, "a.sandbox.test", "A", "192.0.2.1")
    other = put(emulator, "b.sandbox.test", "A", "192.0.2.1")
    assert made["Status"] == "PENDING"
    assert made["Id"] != other["Id"]

    def change() -> dict[str, Any]:
        return dict(route53.get_change(Id=made["Id"])["ChangeInfo"])

    assert (change()["Id"], change()["SubmittedAt"]) == (made["Id"], made["SubmittedAt"])
    route53.get_waiter("resource_record_sets_changed").wait(Id=made["Id"], WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    assert change()["Status"] == "INSYNC"
    assert route53.get_change(Id=made["Id"].rpartition("/")[2])["ChangeInfo"]["Status"] == "INSYNC"


def test_an_unknown_change_is_refused(emulator: Emulator) -> None:
    with pytest.raises(ClientError, match="Could not find resource with ID: C0000000000000") as refused:
        emulator.client("route53").get_change(Id="C0000000000000")
    assert refused.value.response["Error"]["Code"] == "NoSuchChange"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_a_certificate_waits_for_its_record_to_be_insync(emulator: Emulator) -> None:
    acm = emulator.client("acm")
    arn = acm.request_certificate(DomainName="late.sandbox.test", ValidationMethod="DNS")["CertificateArn"]

    def found() -> dict[str, Any]:
        return dict(acm.describe_certificate(CertificateArn=arn)["Certificate"])

    record = found()["DomainValidationOptions"][0]["ResourceRecord"]
    change = put(emulator, record["Name"], record["Type"], record["Value"])
    status, option = found()["Status"], found()["DomainValidationOptions"][0]
    if emulator.client("route53").get_change(Id=change["Id"])["ChangeInfo"]["Status"] == "PENDING":
        assert (status, option["ValidationStatus"]) == ("PENDING_VALIDATION", "PENDING_VALIDATION")
    until(lambda: found()["Status"] == "ISSUED", 30)
    put(emulator, "c.sandbox.test", "A", "192.0.2.1")
    assert found()["DomainValidationOptions"][0]["ValidationStatus"] == "SUCCESS"
