"""Runs of the playbook on a deployment that stands."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from conftest import ROOT, Recap

Playbook = Callable[..., Recap]
ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/main.yml"))


def changes(recap: Recap) -> list[str]:
    """The tasks of a run that say they changed something, each with what follows it."""
    return re.findall(r"^TASK \[.*\n(?:(?!TASK).*\n)*?changed: (?:.*\n){1,20}", recap.output, re.MULTILINE)


def test_a_second_run_changes_nothing(playbook: Playbook) -> None:
    recap = playbook("site.yml")
    assert recap.status == 0, recap.output[-4000:]
    assert (recap.changed, recap.failed) == (0, 0), changes(recap)
    table = re.search(r"published\s+(\d+)\s+stored\s+(\d+)\s+missing\s+(\d+)\s+duplicates\s+(\d+)",
                      " ".join(recap.output.split()))
    assert table, recap.output[-4000:]
    assert table.groups() == ("200", "200", "0", "0")


@pytest.fixture(scope="module")
def foreseen(playbook: Playbook) -> Iterator[Future[Recap]]:
    """A run in check mode, beside other runs: it changes nothing, so neither may disturb the other."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit(playbook, "site.yml", "--check", "--diff")


@pytest.mark.usefixtures("foreseen")
@pytest.mark.parametrize("role", ROLES)
def test_a_roles_tag_works_alone(playbook: Playbook, role: str) -> None:
    recap = playbook("site.yml", "--tags", role)
    assert recap.status == 0, recap.output[-4000:]
    assert recap.changed == 0, changes(recap)


def test_check_mode_predicts_no_change(foreseen: Future[Recap]) -> None:
    recap = foreseen.result()
    assert recap.status == 0, recap.output[-4000:]
    assert (recap.changed, recap.failed) == (0, 0), changes(recap)


def test_a_run_begins_with_where_it_acts(playbook: Playbook) -> None:
    recap = playbook("site.yml", "--tags", "infrastructure")
    for word in ("123456789012", "us-east-2", "iot-receiver", "ingest.sandbox.test", "sandbox"):
        assert word in recap.output


def test_unknown_domain_is_named_with_its_fix(playbook: Playbook) -> None:
    recap = playbook("site.yml", "--tags", "preflight", "-e", "receiver_domain=https://bad/")
    assert recap.status != 0
    assert "receiver_domain" in recap.output
