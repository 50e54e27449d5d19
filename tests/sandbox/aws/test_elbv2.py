"""Elastic Load Balancing refuses certificates that are not issued, and names that AWS does not take."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.emulator import Emulator
from tests.sandbox.aws.test_acm import describe, put_records

NOTHING: list[dict[str, Any]] = [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]


@pytest.fixture(scope="module", name="subnets")
def _subnets(aws: Emulator) -> list[str]:
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    return [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.7.{n}.0/24", AvailabilityZone=f"us-east-2{'ab'[n]}")["Subnet"][
            "SubnetId"
        ]
        for n in range(2)
    ]


def test_a_certificate_is_served_once_it_is_issued(aws: Emulator, subnets: list[str]) -> None:
    """kubernetes-sigs/aws-load-balancer-controller#1999 has AWS's words."""
    acm, elbv2 = aws.client("acm"), aws.client("elbv2")
    balancer = elbv2.create_load_balancer(Name="pending", Subnets=subnets)["LoadBalancers"][0]["LoadBalancerArn"]
    issued, pending = (
        acm.request_certificate(DomainName=f"{name}.sandbox.test", ValidationMethod="DNS")["CertificateArn"]
        for name in ("issued", "pending")
    )
    put_records(aws, describe(acm, issued)["DomainValidationOptions"])

    def listen(arn: str) -> str:
        listener = elbv2.create_listener(
            LoadBalancerArn=balancer, Port=443, Protocol="HTTPS", Certificates=[{"CertificateArn": arn}],
            DefaultActions=NOTHING)  # fmt: skip
        return str(listener["Listeners"][0]["ListenerArn"])

    def refused(call: Any, *arguments: Any, **named: Any) -> None:
        with pytest.raises(ClientError) as error:
            call(*arguments, **named)
        assert error.value.response["Error"] == {
            "Type": "Sender",
            "Code": "UnsupportedCertificate",
            "Message": f"The certificate '{pending}' must have a fully-qualified domain name, "
            "a supported signature, and a supported key size.",
        }

    refused(listen, pending)
    with pytest.raises(ClientError, match=f"Certificate '{pending[:-3]}000' not found") as missing:
        listen(f"{pending[:-3]}000")
    assert missing.value.response["Error"]["Code"] == "CertificateNotFound"
    assert elbv2.describe_listeners(LoadBalancerArn=balancer)["Listeners"] == []
    listener = listen(issued)
    refused(elbv2.modify_listener, ListenerArn=listener, Certificates=[{"CertificateArn": pending}])
    refused(elbv2.add_listener_certificates, ListenerArn=listener, Certificates=[{"CertificateArn": pending}])
    put_records(aws, describe(acm, pending)["DomainValidationOptions"])
    elbv2.add_listener_certificates(ListenerArn=listener, Certificates=[{"CertificateArn": pending}])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("internal-receiver", "cannot begin with 'internal-'"),
        ("-receiver", r"cannot begin or end with a hyphen\(-\)"),
        ("receiver-", r"cannot begin or end with a hyphen\(-\)"),
        ("receiver_1", r"can only contain characters that are alphanumeric characters and hyphens\(-\)"),
        ("r" * 33, "cannot be longer than '32' characters"),
    ],
)
def test_names_that_no_load_balancer_may_have(aws: Emulator, subnets: list[str], name: str, reason: str) -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html"""
    with pytest.raises(ClientError, match=f"The load balancer name '{name}' {reason}") as refused:
        aws.client("elbv2").create_load_balancer(Name=name, Subnets=subnets)
    assert refused.value.response["Error"]["Code"] == "ValidationError"


def test_an_application_load_balancer_is_in_two_zones(aws: Emulator, subnets: list[str]) -> None:
    with pytest.raises(ClientError, match="At least two subnets in two different Availability Zones") as refused:
        aws.client("elbv2").create_load_balancer(Name="single", Subnets=subnets[:1])
    assert refused.value.response["Error"]["Code"] == "ValidationError"


def test_internal_without_its_hyphen_is_a_name(aws: Emulator, subnets: list[str]) -> None:
    made = aws.client("elbv2").create_load_balancer(Name="internals", Subnets=subnets)
    assert made["LoadBalancers"][0]["LoadBalancerName"] == "internals"
