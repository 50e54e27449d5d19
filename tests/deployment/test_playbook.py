"""Runs of the playbook on an existing deployment."""

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.deployment.conftest import Playbook, Recap
from tests.support.paths import ROOT

ROLES = sorted(path.parent.parent.name for path in ROOT.glob("roles/*/meta/main.yml"))
# site.yml has no tasks for their tags alone: other roles or other playbooks use them.
OF_OTHERS = ("acceptance", "dead_letters", "deployment_defaults", "deployment_facts", "helm_release", "status")


def changes(recap: Recap) -> list[str]:
    """The tasks of a run that report a change, each with the lines that follow it."""
    return re.findall(r"^TASK \[.*\n(?:(?!TASK).*\n)*?changed: (?:.*\n){1,20}", recap.output, re.MULTILINE)


@pytest.fixture(scope="module")
def runs(playbook: Playbook) -> Iterator[dict[str, Future[Recap]]]:
    """Runs by what they are of, some at a time: they change nothing, so none may disturb another.

    Only those that publish follow one another, since they do it under the same MQTT client id. The others take no lock,
    for which each would wait.
    """
    publishing, silent = ThreadPoolExecutor(1), ThreadPoolExecutor(2)

    def start(*roles: str) -> Future[Recap]:
        tags = ("site.yml", "--tags", ",".join(roles))
        if "verify" in roles:
            return publishing.submit(playbook, *tags, limit=900)
        return silent.submit(playbook, *tags, "-e", '{"preflight_lock_enabled": false}', limit=900)

    try:
        of_others = start(*OF_OTHERS)
        yield {
            "all": publishing.submit(playbook, "site.yml", limit=900),
            "check": silent.submit(playbook, "site.yml", "--check", "--diff", limit=900),
            **{role: of_others if role in OF_OTHERS else start(role) for role in ROLES},
        }
    finally:
        publishing.shutdown(cancel_futures=True)
        silent.shutdown(cancel_futures=True)


def test_a_second_run_changes_nothing(runs: dict[str, Future[Recap]]) -> None:
    recap = runs["all"].result()
    assert recap.status == 0, recap.output[-4000:]
    assert (recap.changed, recap.failed) == (0, 0), changes(recap)
    table = re.search(r"published\s+(\d+)\s+stored\s+(\d+)\s+missing\s+(\d+)\s+duplicates\s+(\d+)",
                      " ".join(recap.output.split()))
    assert table, recap.output[-4000:]
    assert table.groups() == ("200", "200", "0", "0")


def test_check_mode_predicts_no_change(runs: dict[str, Future[Recap]]) -> None:
    recap = runs["check"].result()
    assert recap.status == 0, recap.output[-4000:]
    assert (recap.changed, recap.failed) == (0, 0), changes(recap)


@pytest.mark.parametrize("role", ROLES)
def test_a_roles_tag_works_alone(runs: dict[str, Future[Recap]], role: str) -> None:
    recap = runs[role].result()
    assert recap.status == 0, recap.output[-4000:]
    assert recap.changed == 0, changes(recap)


def test_roles_of_others_run_no_tasks_by_their_tags(runs: dict[str, Future[Recap]]) -> None:
    output = runs["status"].result().output
    always = {"deployment_defaults", "deployment_facts"}
    assert [role for role in OF_OTHERS if role not in always and f"TASK [{role} : " in output] == []


def test_a_run_begins_with_where_it_acts(runs: dict[str, Future[Recap]]) -> None:
    recap = runs["deployment_facts"].result()
    for word in ("123456789012", "us-east-2", "iot-receiver", "ingest.sandbox.test", "sandbox"):
        assert word in recap.output


def test_unknown_domain_is_named_with_its_fix(playbook: Playbook) -> None:
    recap = playbook("playbooks/preflight.yml", "-e", "receiver_domain=https://bad/")
    assert recap.status != 0
    assert "receiver_domain" in recap.output
