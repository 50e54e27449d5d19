"""What inventory, image and stack have in common is said once."""

import re
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
