"""The receiver's objects in Kubernetes, and the load balancer that the controller made of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.deployment.conftest import Kubectl

Aws = Callable[[str], Any]


def test_two_ready_receivers_run_on_two_nodes(kubectl: Kubectl) -> None:
    ready = kubectl.ready_receivers()
    assert len(ready) == 2
    assert len({pod["spec"]["nodeName"] for pod in ready}) == 2


def test_receivers_were_pulled_by_their_name_in_ecr(kubectl: Kubectl) -> None:
    pods = kubectl.receivers()
    for pod in pods:
        image = pod["status"]["containerStatuses"][0]["image"]
        assert image.startswith("123456789012.dkr.ecr.us-east-2.amazonaws.com/iot-receiver")


def test_receivers_have_their_aws_identity_by_annotation_alone(kubectl: Kubectl) -> None:
    account = kubectl("get", "serviceaccount", "iot-receiver", "-n", "apps")
    role = account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
    deployment = kubectl("get", "deployment", "iot-receiver", "-n", "apps")
    own = {e["name"] for e in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert "AWS_ROLE_ARN" not in own
    for pod in kubectl.receivers():
        env = {e["name"]: e.get("value") for e in pod["spec"]["containers"][0]["env"]}
        assert env["AWS_ROLE_ARN"] == role
        assert env["AWS_WEB_IDENTITY_TOKEN_FILE"].startswith("/var/run/secrets/eks.amazonaws.com")


def test_a_pod_with_no_volume_of_its_own_has_its_identity_too(kubectl: Kubectl, tmp_path: Path) -> None:
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare", "namespace": "apps"},
        "spec": {
            "serviceAccountName": "iot-receiver", "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "bare", "image": "bare",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    }
    (tmp_path / "pod.json").write_text(json.dumps(pod))
    made = kubectl("create", "--dry-run=server", "-f", str(tmp_path / "pod.json"))
    [mount], [volume] = made["spec"]["containers"][0]["volumeMounts"], made["spec"]["volumes"]
    assert mount["name"] == volume["name"]
    assert volume["projected"]["sources"][0]["serviceAccountToken"]["audience"] == "sts.amazonaws.com"


def test_pods_obey_the_restricted_pod_security_standard(kubectl: Kubectl) -> None:
    labels = kubectl("get", "namespace", "apps")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_ingress_has_the_hostname_of_an_alb(kubectl: Kubectl, aws: Aws) -> None:
    ingress = kubectl("get", "ingress", "iot-receiver", "-n", "apps")
    hostname = ingress["status"]["loadBalancer"]["ingress"][0]["hostname"]
    balancers = aws("elbv2").describe_load_balancers()["LoadBalancers"]
    assert hostname in {balancer["DNSName"] for balancer in balancers}


def test_both_targets_are_healthy(aws: Aws, kubectl: Kubectl) -> None:
    elbv2 = aws("elbv2")
    pods = kubectl.receivers()
    addresses = {pod["status"]["podIP"] for pod in pods}
    healthy = {
        health["Target"]["Id"]
        for group in elbv2.describe_target_groups()["TargetGroups"]
        for health in elbv2.describe_target_health(TargetGroupArn=group["TargetGroupArn"])[
            "TargetHealthDescriptions"]
        if health["TargetHealth"]["State"] == "healthy"
    }
    assert addresses
    assert addresses <= healthy
