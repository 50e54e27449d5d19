"""A node joins when a receiver finds no room, and leaves when it is no longer needed, without errors to clients.

Two of the sandbox's values are production's then, as in test_nodes.py.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.deployment.colleague import called
from tests.deployment.conftest import ENDPOINT, Kubectl, Playbook
from tests.deployment.load import Load
from tests.deployment.rights import allowed

SITE = ("site.yml", "--tags", "load_balancer_controller,karpenter,receiver")
VALUES = {"receiver_autoscaling": True, "receiver_autoscaling_max_replicas": 2,
          "load_balancer_controller_replicas": 2, "receiver_deregistration_delay": 30}  # fmt: skip
AUTOSCALED = (*SITE, "-e", json.dumps(VALUES))
ROLE = "iot-receiver-karpenter"
# What a node class with capacity reservations or a placement group makes it ask.
NEVER_CALLED = {"ec2:DescribeCapacityReservations", "ec2:DescribePlacementGroups"}
COMPILES = 1800  # seconds: the first run on a machine compiles Karpenter
JOINS, LEAVES = 120, 900


def eventually(kubectl: Kubectl, condition: Callable[[], Any], seconds: float) -> Any:
    """Wait for what is not empty, and return it."""
    give_up = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < give_up, kubectl.text("describe", "nodepools,nodeclaims")
        time.sleep(2)
    return found


def nodes(kubectl: Kubectl) -> dict[str, dict[str, str]]:
    """Labels of the nodes that are ready, by name."""
    return {
        node["metadata"]["name"]: node["metadata"]["labels"]
        for node in kubectl("get", "nodes")["items"]
        if any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])
    }


def on_nodes(kubectl: Kubectl) -> set[str]:
    """The nodes of receivers that are ready."""
    return {pod["spec"]["nodeName"] for pod in kubectl.ready_receivers()}


@pytest.fixture(name="base")
def _base(kubectl: Kubectl, playbook: Playbook) -> Iterator[list[str]]:
    """The nodes that are always there, with node autoscaling on; afterwards it is off, and they are alone again."""
    names = list(nodes(kubectl))
    on = playbook(*AUTOSCALED, limit=COMPILES)
    if on.status == 0:
        yield names
    for name in names:
        kubectl.text("uncordon", name)
    off = playbook(*SITE, limit=1200)
    assert on.status == 0, on.output[-4000:]
    assert off.status == 0, off.output[-4000:]
    assert sorted(nodes(kubectl)) == sorted(names)
    assert playbook(*SITE).changed == 0


def test_a_node_joins_for_a_receiver_and_leaves_without_an_error_to_clients(
    base: list[str], kubectl: Kubectl, playbook: Playbook, secret: str, aws: Callable[[str], Any]
) -> None:
    again = playbook(*AUTOSCALED)
    assert (again.status, again.changed) == (0, 0), again.output[-4000:]
    moved = kubectl.ready_receivers()[0]["metadata"]["name"]
    with Load(secret, rate=50) as load:
        for name in base:
            kubectl.text("cordon", name)
        kubectl.text("delete", "pod", moved, "-n", "apps", "--wait=false")
        [added] = eventually(kubectl, lambda: set(nodes(kubectl)) - set(base), JOINS)
        eventually(kubectl, lambda: added in on_nodes(kubectl), JOINS)
        labels = nodes(kubectl)[added]
        [instance] = running(aws("ec2"))
        for name in base:
            kubectl.text("uncordon", name)
        eventually(kubectl, lambda: not set(nodes(kubectl)) - set(base), LEAVES)
        eventually(kubectl, lambda: len(kubectl.ready_receivers()) == 2, JOINS)
        eventually(kubectl, lambda: not running(aws("ec2")), JOINS)
    assert labels["karpenter.sh/capacity-type"] == "on-demand"
    assert labels["node.kubernetes.io/instance-type"] == instance["InstanceType"]
    assert {"Key": "Deployment", "Value": "iot-receiver"} in instance["Tags"]
    assert on_nodes(kubectl) <= set(base)
    assert set(load.answers) == {"200"}, load.answers
    assert load.rows(aws("dynamodb")) == load.stored


def running(ec2: Any) -> list[dict[str, Any]]:
    """The instances that Karpenter made and that are not terminated."""
    filters = [
        {"Name": "tag-key", "Values": ["karpenter.sh/nodepool"]},
        {"Name": "instance-state-name", "Values": ["pending", "running"]},
    ]
    found = ec2.describe_instances(Filters=filters)["Reservations"]
    return [instance for each in found for instance in each["Instances"]]


def test_karpenter_uses_what_it_may_and_nothing_else(aws: Callable[[str], Any]) -> None:
    used = called(ENDPOINT, f"arn:aws:iam::123456789012:role/{ROLE}").keys()
    if "ec2:CreateFleet" not in used:
        pytest.skip("Karpenter did nothing yet: run this file as a whole")
    assert used == allowed(aws, ROLE) - NEVER_CALLED
