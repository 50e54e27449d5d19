"""Inventory, image and stack agree on the cluster's version and architecture."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.lines import COLLECTIONS
from tests.support.paths import ROOT
from tests.templates.render import variable

PLACE: dict[str, Any] = {
    "aws_account_id": "123456789012",
    "aws_region": "us-east-2",
    "receiver_domain": "ingest.example.com",
}


@pytest.mark.parametrize(
    ("architecture", "platform"), [({}, "linux/amd64"), ({"architecture": "arm64"}, "linux/arm64")]
)
def test_image_and_nodes_follow_one_switch(architecture: dict[str, str], platform: str) -> None:
    assert variable("receiver_image", "receiver_image_platform", **architecture) == platform
    stack = variable("terraform", "__terraform_variables", **PLACE, **architecture)
    assert stack["architecture"] == architecture.get("architecture", "x86_64")


@pytest.mark.parametrize("name", ["architecture", "cluster_version"])
def test_the_stack_alone_has_the_inventorys_default(name: str) -> None:
    text = (ROOT / "terraform/variables.tf").read_text()
    found = re.search(rf'variable "{name}" {{.*?default\s+= "([^"]+)"', text, re.DOTALL)
    assert found
    assert found[1] == variable("deployment_defaults", name)


def in_days(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ({"1.35": in_days(400)}, ""),
        ({"1.35": in_days(190)}, ""),
        ({"1.35": in_days(170)}, f"Standard support of Kubernetes 1.35 ends on {in_days(170)}"),
        ({"1.35": in_days(-3)}, f"Standard support of Kubernetes 1.35 ended on {in_days(-3)}"),
        ({}, "Kubernetes 1.35 has no date"),
    ],
)
def test_a_version_is_warned_of_half_a_year_before_its_support_ends(end: dict[str, str], said: str) -> None:
    given = {"cluster_version": "1.35", "__preflight_standard_support": end}
    note = variable("preflight", "__preflight_version_note", **given)
    assert note.startswith(said)
    assert bool(note) == bool(said)
    assert "Upgrade EKS" in note or not note.startswith("Standard")


def test_the_default_version_is_the_sandboxs_and_has_a_date() -> None:
    version = variable("deployment_defaults", "cluster_version")
    assert version in variable("preflight", "__preflight_standard_support")
    assert f"\tk8s.io/kubernetes v{version}." in (ROOT / "sandbox/kubernetes/go.mod").read_text()
    example = (ROOT / "inventory/example/group_vars/all/terraform.yml").read_text()
    assert f'\ncluster_version: "{version}"\n' in example


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({}, True),
        ({"architecture": "arm64"}, True),
        ({"architecture": "arm64", "receiver_image_platform": "linux/amd64"}, False),
        ({"architecture": "arm64", "receiver_image_platform": "linux/amd64,linux/arm64"}, True),
        ({"receiver_image_platform": ""}, True),
        ({"architecture": "arm64", "receiver_image_platform": ""}, False),
        ({"receiver_image_platform": "linux/arm64", "terraform_enabled": False}, True),
    ],
)
def test_an_image_for_other_processors_than_the_nodes_is_refused(given: dict[str, Any], fits: bool) -> None:
    place = PLACE | {"role_path": str(ROOT / "roles/preflight"), "preflight_tools_found": {"machine": "x86_64"}}
    checks = variable("preflight", "__preflight_checks", **place | given)
    [check] = [check for check in checks if "receiver_image_platform" in check["fault"]]
    assert check["holds"] is fits


@pytest.mark.parametrize(
    ("collection", "below", "advice"),
    [("6.2.0", {"helm": "4"}, "install Helm 3"), ("6.10.0", {}, "Install Helm"), ("6.4.0", {}, "Install Helm")],
)
def test_helm_4_waits_for_a_collection_that_knows_it(collection: str, below: dict[str, str], advice: str) -> None:
    given = {"__preflight_kubernetes_core": collection}
    assert variable("preflight", "__preflight_tool_below", **given) == below
    assert advice in variable("preflight", "__preflight_tool_fixes", **given)["helm"]


def test_the_locked_collection_is_looked_up() -> None:
    locked = COLLECTIONS.read_text()
    assert f"kubernetes.core, version: {variable('preflight', '__preflight_kubernetes_core')}" in locked
