"""The controller's charts, older, ours and newer, on a real API server: install, upgrade, roll back, remove."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.charts.conftest import Cluster
from tests.support import playbook
from tests.support.ansible import environment
from tests.support.paths import PROGRAMS
from tests.support.waiting import until

pytestmark = pytest.mark.long
OLD, OURS, NEW = "1.13.0", "3.2.2", "3.5.0"
Chart = Callable[[str], Path]


class Play:
    """Runs of role helm_release with the controller's values."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def __call__(self, chart: Path, *arguments: str, status: int = 0, **variables: Any) -> tuple[int, str]:
        """Run it; return the number of changes and the output. `status` is the expected one."""
        given = {"chart": str(chart), "kubeconfig": str(self.cluster.kubeconfig), "helm": str(PROGRAMS / "helm"),
                 "load_balancer_controller_replicas": 0}
        done = playbook.run("-i", "localhost,", "tests/charts/play.yml", "-e", json.dumps(given | variables),
                            *arguments, env=environment(), capture_output=True)
        output = done.stdout + done.stderr
        assert done.returncode == status, output
        [changed] = re.findall(r"changed=(\d+)", output)
        return int(changed), output

    def chart(self) -> str:
        """Name and version of the installed chart."""
        [release] = json.loads(self.cluster.run("helm", "-n", "kube-system", "list", "--all", "-o", "json"))
        assert release["status"] == "deployed"
        return str(release["chart"])

    def deployment(self) -> Any:
        """The controller's Deployment."""
        return json.loads(self.cluster.run(
            "kubectl", "-n", "kube-system", "get", "deployment", "aws-load-balancer-controller", "-o", "json"))


@pytest.fixture(scope="module")
def play(cluster: Cluster) -> Play:
    """One for all tests, which build on each other."""
    return Play(cluster)


@pytest.mark.parametrize("version", [OLD, OURS, NEW])
def test_a_chart_is_installed_or_upgraded_to_once(play: Play, chart: Chart, version: str) -> None:
    would, _ = play(chart(version), "--check", "--diff")
    assert would > 0
    changed, _ = play(chart(version))
    assert changed > 0
    assert play.chart() == f"aws-load-balancer-controller-{version}"
    assert play(chart(version))[0] == 0
    assert play(chart(version), "--check")[0] == 0


def test_its_kinds_are_those_of_the_newest_chart(play: Play, chart: Chart) -> None:
    there = set(play.cluster.run("kubectl", "get", "crds", "-o", "name").split())
    shown = play.cluster.run("helm", "show", "crds", str(chart(NEW)))
    wanted = re.findall(r"^  name: (\S+)$", shown, re.MULTILINE)
    assert len(wanted) >= 2
    assert {f"customresourcedefinition.apiextensions.k8s.io/{name}" for name in wanted} <= there


def test_its_values_are_what_keeps_ingresses_working(play: Play, chart: Chart) -> None:
    play(chart(NEW))
    account = json.loads(play.cluster.run(
        "kubectl", "-n", "kube-system", "get", "serviceaccount", "aws-load-balancer-controller", "-o", "json"))
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].endswith("role/controller")
    [container] = play.deployment()["spec"]["template"]["spec"]["containers"]
    assert {"--cluster-name=tests", "--aws-region=us-east-2", "--aws-vpc-id=vpc-0123456789abcdef0"} <= set(
        container["args"])
    webhooks = json.loads(play.cluster.run("kubectl", "get", "mutatingwebhookconfigurations", "-o", "json"))["items"]
    assert "mservice.elbv2.k8s.aws" not in {hook["name"] for item in webhooks for hook in item["webhooks"]}


def test_an_upgrade_keeps_the_webhooks_certificate(play: Play, chart: Chart) -> None:
    def certificate() -> str:
        secret = ["get", "secret", "aws-load-balancer-tls", "-o", "jsonpath={.data.tls\\.crt}"]
        return play.cluster.run("kubectl", "-n", "kube-system", *secret)

    play(chart(NEW))
    before = certificate()
    play(chart(NEW), values={"podLabels": {"upgraded": "yes"}})
    assert before
    assert certificate() == before


def test_a_chart_whose_kinds_are_older_is_refused(play: Play, chart: Chart) -> None:
    """Objects of the newer version may be stored already, and an older CRD could not read them."""
    _, output = play(chart(OURS), status=2)
    assert "The chart is older than the one that defined them here" in output
    assert play.chart() == f"aws-load-balancer-controller-{NEW}"


def test_what_fails_is_undone(play: Play, chart: Chart) -> None:
    """No pod ever becomes ready here, so a release that asks for one fails."""
    _, output = play(chart(NEW), status=2, values={"replicaCount": 1})
    assert "runs again" in output, output
    assert play.chart() == f"aws-load-balancer-controller-{NEW}"
    assert play.deployment()["spec"]["replicas"] == 0


def test_what_was_killed_is_undone_by_the_next_run(play: Play, chart: Chart) -> None:
    command = [str(PROGRAMS / "helm"), "-n", "kube-system", "upgrade", "--reuse-values",
               "aws-load-balancer-controller", str(chart(NEW)), "--set=replicaCount=1", "--wait"]
    pending = ["-n", "kube-system", "get", "secrets", "-l", "owner=helm,status=pending-upgrade", "-o", "name"]
    with subprocess.Popen(command, env=os.environ | {"KUBECONFIG": str(play.cluster.kubeconfig)},
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as upgrade:
        try:
            until(lambda: play.cluster.run("kubectl", *pending), 60, "no revision is pending", every=0.2)
        finally:
            upgrade.kill()
    play(chart(NEW))
    assert play.chart() == f"aws-load-balancer-controller-{NEW}"
    assert play.deployment()["spec"]["replicas"] == 0


def test_removal_leaves_the_kinds(play: Play, chart: Chart) -> None:
    assert play(chart(NEW), part="remove")[0] == 1
    assert play.cluster.run("helm", "-n", "kube-system", "list", "--all", "--short") == ""
    assert "targetgroupbindings.elbv2.k8s.aws" in play.cluster.run("kubectl", "get", "crds", "-o", "name")
    assert play(chart(NEW), part="remove")[0] == 0
