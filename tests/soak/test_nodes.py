"""Nodes are replaced as EKS replaces a node group: a new one joins, then the old one drains.

Two of the sandbox's values are production's then: where the controller's only pod is evicted with a receiver, or a
receiver ends before another of its pods has taken over, the load balancer is not told in time that a target goes.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.deployment.conftest import Kubectl, Recap
from tests.deployment.load import Load

SITE = ("site.yml", "--tags", "load_balancer_controller,receiver")
AS_IN_PRODUCTION = ("-e", '{"load_balancer_controller_replicas": 2, "receiver_deregistration_delay": 30}')
DEPLOYMENT = ("deployment/iot-receiver", "-n", "apps")
MINUTES = 5


def drain(kubectl: Kubectl, node: str) -> None:
    """Evict what runs on a node, as budgets allow it."""
    kubectl.text("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={MINUTES}m",
                 limit=60 * MINUTES + 10)  # fmt: skip


def rolled_out(kubectl: Kubectl) -> None:
    """Wait until every receiver that is wanted takes requests."""
    kubectl.text("rollout", "status", *DEPLOYMENT, f"--timeout={MINUTES}m", limit=60 * MINUTES + 10)


@pytest.fixture(name="nodes")
def _nodes(kubectl: Kubectl, playbook: Callable[..., Recap]) -> Iterator[list[str]]:
    """The nodes' names; afterwards each takes pods again, and the receivers are spread over them."""
    names = [node["metadata"]["name"] for node in kubectl("get", "nodes")["items"]]
    assert playbook(*SITE, *AS_IN_PRODUCTION).status == 0
    yield names
    for name in names:
        kubectl.text("uncordon", name)
    assert playbook(*SITE).status == 0


def test_a_replaced_node_loses_nothing_and_shows_clients_no_error(
    nodes: list[str], kubectl: Kubectl, secret: str, aws: Callable[[str], Any]
) -> None:
    new, *old = nodes
    drain(kubectl, new)
    rolled_out(kubectl)
    with Load(secret, rate=100) as load:
        kubectl.text("uncordon", new)
        for node in old:
            drain(kubectl, node)
        rolled_out(kubectl)
    assert {pod["spec"]["nodeName"] for pod in kubectl.ready_receivers()} == {new}
    assert set(load.answers) == {"200"}, load.answers
    assert load.rows(aws("dynamodb")) == load.stored
