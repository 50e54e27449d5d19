"""Targets of load balancers: their health is what they really answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.sandbox.aws.emulator import Emulator, Endpoint, serving
from tests.support.ports import free_port
from tests.support.waiting import until


@dataclass
class Group:
    """A target group behind a load balancer."""

    elbv2: Any
    arn: str
    balancer: str

    def listen(self) -> None:
        self.elbv2.create_listener(
            LoadBalancerArn=self.balancer,
            Port=80,
            Protocol="HTTP",
            DefaultActions=[{"Type": "forward", "TargetGroupArn": self.arn}],
        )

    def register(self, port: int) -> None:
        self.elbv2.register_targets(TargetGroupArn=self.arn, Targets=[{"Id": "127.0.0.1", "Port": port}])

    def health(self, *targets: dict[str, Any]) -> list[dict[str, Any]]:
        start = time.monotonic()
        arguments = {"Targets": list(targets)} if targets else {}
        found = self.elbv2.describe_target_health(TargetGroupArn=self.arn, **arguments)
        assert time.monotonic() - start < 1
        return [d["TargetHealth"] for d in found["TargetHealthDescriptions"]]

    def reached(self, state: str) -> dict[str, Any]:
        def found() -> Any:
            health = self.health()
            return health and health[0]["State"] == state and health[0]

        return dict(until(found))


@pytest.fixture(name="group")
def _group(aws: Emulator) -> Group:
    ec2, elbv2 = aws.client("ec2"), aws.client("elbv2")
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.1.{n}.0/24", AvailabilityZone=f"us-east-2{'ab'[n]}")["Subnet"]
        for n in range(2)
    ]
    name = f"t{time.monotonic_ns() % 10**9}"
    balancer = elbv2.create_load_balancer(Name=name, Subnets=[s["SubnetId"] for s in subnets])
    target_group = elbv2.create_target_group(
        Name=name,
        Protocol="HTTP",
        Port=80,
        VpcId=vpc,
        TargetType="ip",
        HealthCheckPath="/metrics",
        HealthCheckIntervalSeconds=5,
        HealthCheckTimeoutSeconds=2,
        HealthyThresholdCount=2,
        UnhealthyThresholdCount=2,
        Matcher={"HttpCode": "200-204"},
    )["TargetGroups"][0]["TargetGroupArn"]
    return Group(elbv2, target_group, balancer["LoadBalancers"][0]["LoadBalancerArn"])


@pytest.fixture(name="target")
def _target() -> Iterator[Endpoint]:
    with serving(None) as endpoint:
        yield endpoint


def port_of(endpoint: Endpoint) -> int:
    return urlsplit(endpoint.url).port or 0


def test_target_is_asked_and_believed(group: Group, target: Endpoint) -> None:
    group.listen()
    group.register(port_of(target))
    group.reached("healthy")
    assert target.calls[0].path == "/metrics"
    assert target.calls[0].headers["user-agent"].startswith("ELB-HealthChecker")
    target.answer = lambda call: (503, {})
    health = group.reached("unhealthy")
    assert health["Reason"] == "Target.ResponseCodeMismatch"
    assert "503" in health["Description"]
    target.answer = lambda call: (204, b"")
    group.reached("healthy")


def test_silent_target_times_out(group: Group, target: Endpoint) -> None:
    def slow(call: Any) -> tuple[int, Any]:
        time.sleep(3)
        return 200, {}

    target.answer = slow
    group.listen()
    group.register(port_of(target))
    assert group.health()[0]["State"] == "initial"
    assert group.reached("unhealthy")["Reason"] == "Target.Timeout"


def test_closed_port_is_unhealthy(group: Group) -> None:
    group.listen()
    group.register(free_port())
    assert group.reached("unhealthy")["Reason"] == "Target.FailedHealthChecks"


def test_group_without_listener_is_not_in_use(group: Group, target: Endpoint) -> None:
    group.register(port_of(target))
    assert group.health()[0] == {
        "State": "unused",
        "Reason": "Target.NotInUse",
        "Description": "Target group is not configured to receive traffic from the load balancer",
    }
    assert not target.calls


def test_deregistered_target_drains_then_is_gone(group: Group, target: Endpoint) -> None:
    group.elbv2.modify_target_group_attributes(
        TargetGroupArn=group.arn, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "1"}]
    )
    group.listen()
    group.register(port_of(target))
    group.reached("healthy")
    this = {"Id": "127.0.0.1", "Port": port_of(target)}
    group.elbv2.deregister_targets(TargetGroupArn=group.arn, Targets=[this])
    assert [h["State"] for h in group.health()] == ["draining"]
    assert group.health(this)[0]["Reason"] == "Target.DeregistrationInProgress"
    until(lambda: group.health() == [])
    assert group.health(this)[0]["Reason"] == "Target.NotRegistered"
    group.elbv2.deregister_targets(TargetGroupArn=group.arn, Targets=[this])
    asked = len(target.calls)
    time.sleep(1)
    assert len(target.calls) == asked
