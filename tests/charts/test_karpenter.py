"""Karpenter's chart and kinds on a real API server, where the test stands in for the program."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.charts.conftest import Cluster
from tests.support import playbook
from tests.support.ansible import environment
from tests.support.paths import CACHE, PROGRAMS

pytestmark = pytest.mark.long
CHART = CACHE / "charts/karpenter/karpenter"
NAME = "iot-receiver"
KINDS = ("ec2nodeclass", "nodepool")


class Role:
    """Runs of role karpenter."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def __call__(self, *arguments: str, status: int = 0, **variables: Any) -> tuple[int, str]:
        """Run it; return the number of changes and the output, line breaks left out. `status` is the expected one."""
        given = {"karpenter_chart": str(CHART), "karpenter_helm": str(PROGRAMS / "helm"),
                 "infrastructure_kubeconfig": str(self.cluster.kubeconfig)}
        done = playbook.run("-i", "localhost,", "tests/charts/karpenter.yml", "-e", json.dumps(given | variables),
                            *arguments, env=environment(), capture_output=True)
        output = done.stdout + done.stderr
        assert done.returncode == status, output
        [changed] = re.findall(r"changed=(\d+)", output)
        return int(changed), output

    def read(self, kind: str) -> Any:
        """The deployment's object of a kind."""
        return json.loads(self.cluster.run("kubectl", "get", kind, NAME, "-o", "json"))

    def judge(self, status: str, message: str = "") -> None:
        """Give both objects a condition, as Karpenter does."""
        for kind in KINDS:
            condition = {"type": "Ready", "status": status, "reason": "Tests", "message": message,
                         "lastTransitionTime": "2026-01-01T00:00:00Z",
                         "observedGeneration": self.read(kind)["metadata"]["generation"]}  # fmt: skip
            self.cluster.run("kubectl", "patch", kind, NAME, "--subresource=status", "--type=merge",
                             f"--patch={json.dumps({'status': {'conditions': [condition]}})}")  # fmt: skip

    def left(self) -> str:
        """What the cluster has of it."""
        return self.cluster.run("kubectl", "get", ",".join((*KINDS, "nodeclaim")), "-o", "name") + self.cluster.run(
            "helm", "-n", "kube-system", "list", "--all", "--short")


@pytest.fixture(scope="module", name="role")
def _role(cluster: Cluster) -> Role:
    """One for all tests, which build on each other."""
    if not CHART.exists():
        pytest.skip("Karpenter was not compiled on this machine yet: make molecule ROLE=karpenter")
    return Role(cluster)


def test_nothing_is_done_without_its_role_or_before_it_was_installed(role: Role) -> None:
    assert role(infrastructure_karpenter_role_arn="", terraform_enabled=False)[0] == 0
    assert "--tags terraform" in role(infrastructure_karpenter_role_arn="", status=2)[1]
    assert role(receiver_autoscaling=False)[0] == 0
    assert role(karpenter_max_nodes=0)[0] == 0
    assert role(part="remove")[0] == 0


def test_a_node_pool_that_karpenter_does_not_accept_ends_the_run(role: Role) -> None:
    _, output = role(status=2)
    assert "describe ec2nodeclass,nodepool iot-receiver" in output
    role.judge("False", "not authorized to call ec2:RunInstances")
    _, output = role(status=2)
    assert "not authorized to call ec2:RunInstances" in output


def test_a_second_run_changes_nothing(role: Role) -> None:
    role.judge("True")
    assert role()[0] == 0
    assert role("--check", "--diff")[0] == 0


def test_the_release_says_whose_it_is_and_has_its_identity(role: Role) -> None:
    deployment, account = (
        json.loads(role.cluster.run("kubectl", "-n", "kube-system", "get", kind, "karpenter", "-o", "json"))["metadata"]
        for kind in ("deployment", "serviceaccount")
    )
    assert deployment["labels"]["app.kubernetes.io/part-of"] == NAME
    assert account["annotations"]["eks.amazonaws.com/role-arn"].endswith("role/tests-karpenter")


def test_the_number_of_nodes_can_be_changed(role: Role) -> None:
    assert role("--check", karpenter_max_nodes=2)[0] == 1
    role(status=2, karpenter_max_nodes=2)  # nobody has looked at it yet
    assert int(role.read("nodepool")["spec"]["limits"]["nodes"]) == 2
    role.judge("True")


def test_somebody_elses_is_left_alone(role: Role) -> None:
    before = role.left()
    for part in ("main", "remove"):
        changed, output = role(part=part, deployment_name="another")
        assert changed == 0
        assert "belongs to deployment iot-receiver, not another" in " ".join(output.split())
    assert role.left() == before


def node_claim(path: Path) -> Path:
    """A node of the NodePool that is not drained yet."""
    node_class = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": NAME}
    path.write_text(json.dumps({
        "apiVersion": "karpenter.sh/v1", "kind": "NodeClaim",
        "metadata": {"name": "held", "labels": {"karpenter.sh/nodepool": NAME}, "finalizers": ["tests/held"]},
        "spec": {"requirements": [], "nodeClassRef": node_class},
    }))  # fmt: skip
    return path


def test_it_stays_until_its_nodes_are_gone_and_then_goes(role: Role, tmp_path: Path) -> None:
    assert role("--check", part="remove")[0] > 0
    assert "nodepool" in role.left()
    role.cluster.run("kubectl", "apply", "-f", str(node_claim(tmp_path / "claim.json")))
    _, output = role(part="remove", status=2)
    assert "NodeClaims held" in output
    assert "describe nodeclaims -l karpenter.sh/nodepool=iot-receiver" in output
    assert "karpenter" in role.left().splitlines()  # the release, without which nothing would end the nodes
    drained = '--patch={"metadata": {"finalizers": null}}'
    role.cluster.run("kubectl", "patch", "nodeclaim", "held", "--type=merge", drained)
    role.cluster.run("kubectl", "delete", "nodeclaim", "held", "--ignore-not-found")
    other = json.loads((tmp_path / "claim.json").read_text())
    other["metadata"] = {"name": "other", "labels": {"karpenter.sh/nodepool": "theirs"}}
    (tmp_path / "other.json").write_text(json.dumps(other))
    role.cluster.run("kubectl", "apply", "-f", str(tmp_path / "other.json"))
    changed, output = role(part="remove")
    assert changed > 0
    assert "Karpenter stays" in output
    assert "NodeClaims other" in output
    assert role.left().split() == ["nodeclaim.karpenter.sh/other", "karpenter"]
    role.cluster.run("kubectl", "delete", "nodeclaim", "other")
    assert role(part="remove")[0] > 0
    assert role.left() == ""
    assert role(part="remove")[0] == 0


def test_node_pools_of_eks_auto_mode_are_left_alone(role: Role) -> None:
    """It serves karpenter.sh/v1 without EC2NodeClass: https://docs.aws.amazon.com/eks/latest/userguide/create-node-pool.html"""
    role.cluster.run("kubectl", "delete", "crd", "ec2nodeclasses.karpenter.k8s.aws")
    assert role(part="remove")[0] == 0
    assert "nodepools.karpenter.sh" in role.cluster.run("kubectl", "get", "crd", "-o", "name")
