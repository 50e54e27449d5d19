"""The names that Terraform's outputs, the roles and an inventory of one's own infrastructure share."""

import re
from pathlib import Path

import pytest
import yaml

from tests.support.paths import ROOT

INVENTORIES = sorted(ROOT.glob("inventory/*/group_vars/all/infrastructure.yml"))
VARIABLES = yaml.safe_load((ROOT / "roles/deployment_facts/vars/main.yml").read_text())
NAMES = {*VARIABLES["__deployment_facts_names"], *VARIABLES["__deployment_facts_optional"]}
MADE = {"kubeconfig", "kubeconfig_file", "workdir", "cluster_stands"}  # by the role itself, or of its own


def test_every_output_of_terraform_is_a_fact() -> None:
    outputs = set(re.findall(r'^output "(\w+)"', (ROOT / "terraform/outputs.tf").read_text(), re.MULTILINE))
    assert outputs - {"certificate_validation_record"} == NAMES


@pytest.mark.parametrize("inventory", INVENTORIES, ids=lambda path: path.parts[-4])
def test_an_inventory_explains_every_fact(inventory: Path) -> None:
    explained = set(re.findall(r"^# infrastructure_(\w+):", inventory.read_text(), re.MULTILINE))
    assert explained == NAMES


def test_roles_read_no_other_fact() -> None:
    files = [path for path in ROOT.glob("roles/*/[dtv]*/**/*") if path.suffix in (".yml", ".j2")]
    read = {name for path in files for name in re.findall(r"\binfrastructure_(\w+)\b(?!:)", path.read_text())}
    assert read <= NAMES | MADE
