"""What somebody else owns in the account and the cluster is refused by name, and stays as it is."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.deployment.conftest import DOMAIN, Kubectl, Playbook, needs_chart

Aws = Callable[[str], Any]
ACTION = {"lambda": {"functionArn": "arn:aws:lambda:us-east-2:123456789012:function:f"}}
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}


@pytest.fixture(name="accounts")
def _accounts(aws: Aws, kubectl: Kubectl) -> tuple[Aws, Kubectl]:
    """Where somebody else may own something."""
    return aws, kubectl


@contextmanager
def rule(aws: Aws, kubectl: Kubectl) -> Iterator[Callable[[], Any]]:
    iot = aws("iot")
    iot.create_topic_rule(ruleName="anothers", topicRulePayload={"sql": "SELECT * FROM 'x'", "actions": [ACTION]})
    yield lambda: iot.get_topic_rule(ruleName="anothers")["rule"]
    iot.delete_topic_rule(ruleName="anothers")


@contextmanager
def policy(aws: Aws, kubectl: Kubectl) -> Iterator[Callable[[], Any]]:
    iot = aws("iot")
    iot.create_policy(policyName="anothers", policyDocument=json.dumps(POLICY))
    yield lambda: iot.get_policy(policyName="anothers")["policyDocument"]
    iot.delete_policy(policyName="anothers")


@contextmanager
def repository(aws: Aws, kubectl: Kubectl) -> Iterator[Callable[[], Any]]:
    ecr = aws("ecr")
    ecr.create_repository(repositoryName="anothers")
    yield lambda: ecr.describe_repositories(repositoryNames=["anothers"])["repositories"]
    ecr.delete_repository(repositoryName="anothers")


@contextmanager
def thing(aws: Aws, kubectl: Kubectl) -> Iterator[Callable[[], Any]]:
    iot = aws("iot")
    iot.create_thing(thingName="anothers")
    yield lambda: [iot.describe_thing(thingName="anothers")["attributes"],
                   iot.list_thing_principals(thingName="anothers")["principals"]]  # fmt: skip
    iot.delete_thing(thingName="anothers")


@contextmanager
def namespace(aws: Aws, kubectl: Kubectl) -> Iterator[Callable[[], Any]]:
    kubectl.text("create", "namespace", "anothers")
    yield lambda: kubectl("get", "namespace", "anothers")["metadata"]["labels"]
    kubectl.text("delete", "namespace", "anothers")


@pytest.mark.parametrize(("anothers", "run", "variables"), [
    (rule, ["playbooks/iot.yml"], {"iot_rule_name": "anothers"}),
    (policy, ["playbooks/iot.yml"], {"iot_policy_name": "anothers"}),
    (repository, ["playbooks/image.yml"], {"receiver_image_repository": "anothers"}),
    (thing, ["playbooks/devices.yml", "--tags", "device_kit"], {"device_kit_things": ["anothers"]}),
    (namespace, ["playbooks/receiver.yml", "--tags", "receiver"], {"receiver_namespace": "anothers"}),
])  # fmt: skip
def test_a_run_refuses_it(
    playbook: Playbook, accounts: tuple[Aws, Kubectl], anothers: Any, run: list[str], variables: dict[str, Any]
) -> None:
    with anothers(*accounts) as state:
        before = state()
        recap = playbook(*run, "-e", json.dumps(variables))
        assert state() == before
    assert recap.status != 0
    for word in ("anothers", *variables, "deployment_adopt=true"):
        assert word in recap.output


@needs_chart("kube-prometheus-stack", "Monitoring")
def test_a_second_operator_is_not_installed(playbook: Playbook) -> None:
    elsewhere = ("--tags", "kube_prometheus_stack", "-e", "kube_prometheus_stack_namespace=anothers")
    recap = playbook("playbooks/monitoring.yml", *elsewhere, "--check")
    assert (recap.status, recap.changed) == (0, 0), recap.output[-4000:]
    assert "The cluster has a Prometheus operator (monitoring/" in " ".join(recap.output.split())


def test_a_record_that_points_elsewhere_is_refused(playbook: Playbook, aws: Aws) -> None:
    route53 = aws("route53")
    (zone,) = [one["Id"] for one in route53.list_hosted_zones()["HostedZones"] if one["Name"] == "sandbox.test."]
    record = {"Name": f"anothers.{DOMAIN}", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "example.org"}]}

    def write(action: str) -> None:
        changes = [{"Action": action, "ResourceRecordSet": record}]
        route53.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})

    write("CREATE")
    try:
        recap = playbook("playbooks/receiver.yml", "--check", "-e", f"receiver_domain=anothers.{DOMAIN}")
    finally:
        write("DELETE")
    assert recap.status != 0
    assert f"anothers.{DOMAIN} points to example.org" in recap.output
    assert "receiver_domain" in recap.output
