"""Runs of the playbook on a deployment that stands."""

import re
from collections.abc import Callable

import pytest
from conftest import ROOT, Recap

Playbook = Callable[..., Recap]
ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/main.yml"))


def test_a_second_run_changes_nothing(playbook: Playbook) -> None:
    recap = playbook("site.yml")
    assert recap.status == 0, recap.output[-4000:]
    assert (recap.changed, recap.failed) == (0, 0), recap.output[-4000:]
    table = re.search(r"published\s+(\d+)\s+stored\s+(\d+)\s+missing\s+(\d+)\s+duplicates\s+(\d+)",
                      " ".join(recap.output.split()))
    assert table, recap.output[-4000:]
    assert table.groups() == ("200", "200", "0", "0")


def test_check_mode_predicts_no_change(playbook: Playbook) -> None:
    recap = playbook("site.yml", "--check", "--diff")
    assert recap.status == 0, recap.output[-4000:]
    assert (recap.changed, recap.failed) == (0, 0), recap.output[-4000:]


@pytest.mark.parametrize("role", ROLES)
def test_a_roles_tag_works_alone(playbook: Playbook, role: str) -> None:
    recap = playbook("site.yml", "--tags", role)
    assert recap.status == 0, recap.output[-4000:]
    assert recap.changed == 0, recap.output[-4000:]


def test_a_run_begins_with_where_it_acts(playbook: Playbook) -> None:
    recap = playbook("site.yml", "--tags", "infrastructure")
    for word in ("123456789012", "us-east-2", "iot-receiver", "ingest.sandbox.test", "sandbox"):
        assert word in recap.output


def test_unknown_domain_is_named_with_its_fix(playbook: Playbook) -> None:
    recap = playbook("site.yml", "--tags", "preflight", "-e", "receiver_domain=https://bad/")
    assert recap.status != 0
    assert "receiver_domain" in recap.output
