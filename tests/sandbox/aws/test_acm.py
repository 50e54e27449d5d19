"""ACM: certificates that clients of the sandbox's CA accept, laid out for the load balancer once they are issued."""

from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.sandbox.aws.emulator import Emulator


@pytest.fixture(name="acm")
def _acm(aws: Emulator) -> Any:
    return aws.client("acm")


def describe(acm: Any, arn: str) -> dict[str, Any]:
    return dict(acm.describe_certificate(CertificateArn=arn)["Certificate"])


def pem(aws: Emulator, arn: str) -> Path:
    return aws.folder / "acm" / f"{arn.rpartition('/')[2]}.pem"


def put_records(aws: Emulator, options: list[dict[str, Any]]) -> None:
    route53 = aws.client("route53")
    zone = route53.list_hosted_zones_by_name(DNSName="sandbox.test")["HostedZones"][0]["Id"]
    changes = [
        {
            "Action": "UPSERT",
            "ResourceRecordSet": {
                "Name": option["ResourceRecord"]["Name"],
                "Type": option["ResourceRecord"]["Type"],
                "TTL": 60,
                "ResourceRecords": [{"Value": option["ResourceRecord"]["Value"]}],
            },
        }
        for option in options
    ]
    route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})


def test_certificate_is_issued_when_its_records_stand(aws: Emulator, acm: Any) -> None:
    names = ["ingest.sandbox.test", "*.ingest.sandbox.test", "other.sandbox.test"]
    arn = acm.request_certificate(
        DomainName=names[0], SubjectAlternativeNames=names[1:], ValidationMethod="DNS", IdempotencyToken="once"
    )["CertificateArn"]
    again = acm.request_certificate(
        DomainName=names[0], SubjectAlternativeNames=names[1:], ValidationMethod="DNS", IdempotencyToken="once"
    )["CertificateArn"]
    assert again == arn
    pending = describe(acm, arn)
    assert pending["Status"] == "PENDING_VALIDATION"
    assert "IssuedAt" not in pending
    options = {o["DomainName"]: o for o in pending["DomainValidationOptions"]}
    assert list(options) == names == pending["SubjectAlternativeNames"]
    assert options[names[0]]["ResourceRecord"] == options[names[1]]["ResourceRecord"]
    assert options[names[0]]["ResourceRecord"] != options[names[2]]["ResourceRecord"]
    assert not pem(aws, arn).exists()

    put_records(aws, [options[names[0]]])
    assert describe(acm, arn)["Status"] == "PENDING_VALIDATION"
    put_records(aws, list(options.values()))
    issued = describe(acm, arn)
    assert issued["Status"] == "ISSUED"
    assert {o["ValidationStatus"] for o in issued["DomainValidationOptions"]} == {"SUCCESS"}

    file = pem(aws, arn)
    assert file.stat().st_mode & 0o777 == 0o600
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(file)
    certificate, authority = x509.load_pem_x509_certificates(file.read_bytes())
    certificate.verify_directly_issued_by(authority)
    assert authority == x509.load_pem_x509_certificate(aws.authority.certificate.read_bytes())
    assert issued["NotAfter"].astimezone(dt.UTC) == certificate.not_valid_after_utc
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.DNSName) == names
    answer = acm.get_certificate(CertificateArn=arn)
    assert x509.load_pem_x509_certificate(answer["Certificate"].encode()) == certificate
    assert x509.load_pem_x509_certificate(answer["CertificateChain"].encode()) == authority

    acm.delete_certificate(CertificateArn=arn)
    assert not file.exists()
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        acm.describe_certificate(CertificateArn=arn)


def test_wrong_record_does_not_validate(aws: Emulator, acm: Any) -> None:
    arn = acm.request_certificate(DomainName="wrong.sandbox.test", ValidationMethod="DNS")["CertificateArn"]
    option = describe(acm, arn)["DomainValidationOptions"][0]
    put_records(aws, [{"ResourceRecord": {**option["ResourceRecord"], "Value": "_else.acm-validations.aws."}}])
    assert describe(acm, arn)["Status"] == "PENDING_VALIDATION"
    put_records(aws, [option])
    assert describe(acm, arn)["Status"] == "ISSUED"
    listed = acm.list_certificates(CertificateStatuses=["ISSUED"])["CertificateSummaryList"]
    assert arn in [c["CertificateArn"] for c in listed]


def test_served_certificate_stays(aws: Emulator, acm: Any) -> None:
    ec2, elbv2 = aws.client("ec2"), aws.client("elbv2")
    arn = acm.request_certificate(DomainName="served.sandbox.test", ValidationMethod="DNS")["CertificateArn"]
    put_records(aws, describe(acm, arn)["DomainValidationOptions"])
    vpc = ec2.create_vpc(CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.2.{n}.0/24", AvailabilityZone=f"us-east-2{'ab'[n]}")["Subnet"]
        for n in range(2)
    ]
    balancer = elbv2.create_load_balancer(Name="served", Subnets=[s["SubnetId"] for s in subnets])
    balancer_arn = balancer["LoadBalancers"][0]["LoadBalancerArn"]
    answer = {"StatusCode": "404", "ContentType": "text/plain"}
    listener = elbv2.create_listener(
        LoadBalancerArn=balancer_arn,
        Port=443,
        Protocol="HTTPS",
        Certificates=[{"CertificateArn": arn}],
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": answer}],
    )["Listeners"][0]["ListenerArn"]
    assert describe(acm, arn)["InUseBy"] == [balancer_arn]
    with pytest.raises(ClientError, match="ResourceInUseException"):
        acm.delete_certificate(CertificateArn=arn)
    elbv2.delete_listener(ListenerArn=listener)
    assert describe(acm, arn)["InUseBy"] == []
    acm.delete_certificate(CertificateArn=arn)


def test_imported_certificate_is_laid_out_as_it_came(aws: Emulator, acm: Any) -> None:
    identity = aws.authority.issue("imported")
    arn = acm.import_certificate(
        Certificate=identity.certificate.read_bytes(),
        PrivateKey=identity.key.read_bytes(),
        CertificateChain=aws.authority.certificate.read_bytes(),
    )["CertificateArn"]
    found = x509.load_pem_x509_certificates(pem(aws, arn).read_bytes())
    assert found[0] == x509.load_pem_x509_certificate(identity.certificate.read_bytes())
    serialization.load_pem_private_key(pem(aws, arn).read_bytes(), None)
    assert describe(acm, arn)["Type"] == "IMPORTED"
