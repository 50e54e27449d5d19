"""Inventory, image and stack agree on the cluster's version and architecture."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

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


def test_the_default_version_has_a_date() -> None:
    assert variable("deployment_defaults", "cluster_version") in variable("preflight", "__preflight_standard_support")
