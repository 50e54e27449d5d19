"""A second deployment in the sandbox's account and cluster comes, works and goes; the first one is not touched."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.deployment.conftest import Kubectl, Recap

Playbook = Callable[..., Recap]
Aws = Callable[[str], Any]
STAGING = ("--limit", "localhost", "-e", "deployment_name=staging")


def account(aws: Aws, kubectl: Kubectl) -> dict[str, Any]:
    """Names, and what tells a replaced or changed one from the same, of what deployments make."""
    iot, iam, elb = aws("iot"), aws("iam"), aws("elbv2")
    zones = aws("route53").list_hosted_zones()["HostedZones"]
    records = [
        record for zone in zones
        for record in aws("route53").list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]
    ]  # fmt: skip
    rules = [one["ruleName"] for one in iot.list_topic_rules()["rules"]]
    namespaces = kubectl("get", "namespaces")["items"]
    policies = [one["policyName"] for one in iot.list_policies()["policies"]]
    return {
        "rules": {name: iot.get_topic_rule(ruleName=name)["rule"] for name in rules},
        "destinations": {
            one["httpUrlSummary"]["confirmationUrl"]: one["arn"]
            for one in iot.list_topic_rule_destinations()["destinationSummaries"] if one["status"] != "DELETING"
        },
        "policies": {name: sorted(iot.list_targets_for_policy(policyName=name)["targets"]) for name in policies},
        "things": {one["thingName"]: one["attributes"] for one in iot.list_things()["things"]},
        "certificates": {one["certificateArn"]: one["status"] for one in iot.list_certificates()["certificates"]},
        "repositories": {one["repositoryName"]: one["createdAt"]
                         for one in aws("ecr").describe_repositories()["repositories"]},
        "secrets": {one["Name"]: one["ARN"] for one in aws("secretsmanager").list_secrets()["SecretList"]},
        "queues": sorted(aws("sqs").list_queues().get("QueueUrls", [])),
        "tables": sorted(aws("dynamodb").list_tables()["TableNames"]),
        "roles": {one["RoleName"]: one["RoleId"] for one in iam.list_roles()["Roles"]},
        "providers": sorted(one["Arn"] for one in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]),
        "clusters": sorted(aws("eks").list_clusters()["clusters"]),
        "networks": sorted(one["VpcId"] for one in aws("ec2").describe_vpcs()["Vpcs"]),
        "groups": sorted(one["GroupId"] for one in aws("ec2").describe_security_groups()["SecurityGroups"]),
        "alarms": sorted(one["AlarmName"] for one in aws("cloudwatch").describe_alarms()["MetricAlarms"]),
        "logs": sorted(one["logGroupName"] for one in aws("logs").describe_log_groups()["logGroups"]),
        "balancers": {one["LoadBalancerName"]: one["LoadBalancerArn"]
                      for one in elb.describe_load_balancers()["LoadBalancers"]},
        "records": sorted((one["Name"], one["Type"]) for one in records),
        "namespaces": {one["metadata"]["name"]: one["metadata"]["uid"] for one in namespaces},
        "releases": sorted(one["metadata"]["name"] for one in
                           kubectl("get", "secrets", "--all-namespaces", "-l", "owner=helm")["items"]),
        "receivers": sorted(pod["metadata"]["uid"] for pod in kubectl.receivers()),
    }  # fmt: skip


@pytest.fixture(scope="module", name="before")
def _before(aws: Aws, kubectl: Kubectl) -> dict[str, Any]:
    return account(aws, kubectl)


def test_it_is_deployed_by_its_name_alone(playbook: Playbook, before: dict[str, Any]) -> None:
    recap = playbook("site.yml", *STAGING, limit=1500)
    assert recap.status == 0, recap.output[-4000:]
    assert "200 of 200" in recap.output
    assert "belongs to deployment iot-receiver, not staging: it is used and left" in " ".join(recap.output.split())


def test_the_first_one_is_as_it_was(
    playbook: Playbook, aws: Aws, kubectl: Kubectl, before: dict[str, Any]
) -> None:
    after = account(aws, kubectl)
    for kind, held in before.items():
        if isinstance(held, dict):
            assert {name: after[kind].get(name) for name in held} == held, kind
        else:
            assert set(held) <= set(after[kind]), kind
    recap = playbook("site.yml", "--check", limit=900)
    assert (recap.status, recap.changed) == (0, 0), recap.output[-4000:]


def test_a_second_run_changes_nothing(playbook: Playbook, before: dict[str, Any]) -> None:
    recap = playbook("site.yml", *STAGING, limit=1500)
    assert (recap.status, recap.changed) == (0, 0), recap.output[-4000:]


def test_it_goes_and_leaves_nothing_but_the_first_one(
    playbook: Playbook, aws: Aws, kubectl: Kubectl, before: dict[str, Any]
) -> None:
    recap = playbook("playbooks/teardown.yml", *STAGING, "-e", "teardown_confirmed=staging", limit=1500)
    assert recap.status == 0, recap.output[-4000:]
    assert account(aws, kubectl) == before
    verified = playbook("playbooks/verify.yml", limit=900)
    assert verified.status == 0, verified.output[-4000:]
    assert "200 of 200" in verified.output
