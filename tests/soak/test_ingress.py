"""The load balancer follows the Ingress; impossible settings fail with their reason, and no reading is lost."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.deployment.conftest import Kubectl, Playbook
from tests.deployment.load import Load

Aws = Callable[[str], Any]
SITE = ("site.yml", "--tags", "receiver")
CHANGED = {
    "receiver_tls_policy": "ELBSecurityPolicy-TLS13-1-3-2021-06",
    "receiver_inbound_ranges": ["10.213.0.0/24", "192.0.2.0/25"],
    "receiver_health_path": "/readyz",
}


@pytest.fixture(autouse=True)
def restored(playbook: Playbook) -> Iterator[None]:
    """Restore the inventory's Ingress after a test."""
    yield
    assert playbook(*SITE).status == 0


def with_(variables: dict[str, Any]) -> tuple[str, ...]:
    """Arguments of a run with extra variables."""
    return (*SITE, "-e", json.dumps(variables))


def state(aws: Aws) -> dict[str, Any]:
    """The load balancer as AWS has it, in the words of the role's variables."""
    elb = aws("elbv2")
    [balancer] = elb.describe_load_balancers(Names=["iot-receiver"])["LoadBalancers"]
    [listener] = elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    [group] = elb.describe_target_groups(LoadBalancerArn=balancer["LoadBalancerArn"])["TargetGroups"]
    groups = aws("ec2").describe_security_groups(GroupIds=balancer["SecurityGroups"])["SecurityGroups"]
    rules = [rule for each in groups for rule in each["IpPermissions"] if rule.get("FromPort") == 443]
    return {
        "receiver_tls_policy": listener["SslPolicy"],
        "receiver_inbound_ranges": sorted(entry["CidrIp"] for rule in rules for entry in rule["IpRanges"]),
        "receiver_health_path": group["HealthCheckPath"],
    }


def health(aws: Aws) -> set[str]:
    """The states of the receivers' targets."""
    elb = aws("elbv2")
    [group] = [each for each in elb.describe_target_groups()["TargetGroups"] if "iotrecei" in each["TargetGroupName"]]
    found = elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
    return {each["TargetHealth"]["State"] for each in found}


def test_edits_are_the_load_balancers_state(playbook: Playbook, aws: Aws, secret: str) -> None:
    before = state(aws)
    with Load(secret, rate=20) as load:
        edited = playbook(*with_(CHANGED))
        assert edited.status == 0, edited.output[-4000:]
        assert state(aws) == CHANGED
        assert playbook(*with_(CHANGED)).changed == 0
        undone = playbook(*SITE)
    assert undone.status == 0, undone.output[-4000:]
    assert state(aws) == before
    assert playbook(*SITE).changed == 0
    assert set(load.answers) == {"200"}, load.answers
    assert load.rows(aws("dynamodb")) == load.stored


def test_a_wrong_health_path_is_told_and_nothing_is_lost(
    playbook: Playbook, aws: Aws, kubectl: Kubectl, secret: str
) -> None:
    def pods() -> Any:
        return kubectl("get", "deployment", "iot-receiver", "-n", "apps")["spec"]["template"]

    wrong, before = {"receiver_health_path": "/wrong", "receiver_log_level": "DEBUG"}, pods()
    with Load(secret, rate=20) as load:
        started = time.monotonic()
        refused = playbook(*with_(wrong))
        took = time.monotonic() - started
        assert pods() == before
        again = playbook(*with_({"receiver_health_path": "/wrong"}))
        assert health(aws) == {"unhealthy"}
        mended = playbook(*SITE)
    for run in (refused, again):
        assert run.status != 0
        for part in ("iot-receiver finds receivers unhealthy", "[404]", "/wrong", "receiver_health_path", "/metrics"):
            assert part in run.output, run.output[-4000:]
    assert took < 120
    assert mended.status == 0, mended.output[-4000:]
    assert health(aws) == {"healthy"}
    assert set(load.answers) == {"200"}, load.answers
    assert load.rows(aws("dynamodb")) == load.stored


def test_what_the_controller_can_not_do_is_told(playbook: Playbook, aws: Aws, secret: str) -> None:
    before = state(aws)
    with Load(secret, rate=20) as load:
        refused = playbook(*with_({"receiver_tls_policy": "ELBSecurityPolicy-None"}))
    assert refused.status != 0
    assert "ELBSecurityPolicy-None" in refused.output, refused.output[-4000:]
    assert "serves as before" in refused.output
    assert state(aws) == before
    assert set(load.answers) == {"200"}, load.answers
