"""The checklist for a real account, and the role that goes through it, have the same facts."""

import re
from typing import Any

import pytest
from ansible import context
from ansible.utils.context_objects import CLIArgs

from tests.support.paths import ROOT
from tests.templates.render import variable

ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| .+ \| (.+) \|$", re.MULTILINE)
PLACE: dict[str, Any] = {"ansible_playbook_python": "/venv/bin/python", "ansible_inventory_sources": ["/inventory"]}


def test_document_and_role_have_the_same_facts() -> None:
    rows = ROW.findall((ROOT / "docs/acceptance.md").read_text())
    facts = variable("acceptance", "__acceptance_facts")
    assert [(int(number), name) for number, name, _ in rows] == [(fact["number"], fact["name"]) for fact in facts]
    assert [fact["number"] for fact in facts] == variable("acceptance", "acceptance_facts") == list(range(1, 20))
    for (_, name, command), fact in zip(rows, facts, strict=True):
        assert "`" in command, name
        assert ("`playbooks/acceptance.yml`" in command) is ("check" in fact or name.startswith("pods get")), name


def test_each_fact_is_checked_or_says_why_not() -> None:
    for fact in variable("acceptance", "__acceptance_facts"):
        assert ("check" in fact) != ("only_on_aws" in fact)
        assert "check" not in fact or (ROOT / f"roles/acceptance/tasks/{fact['check']}.yml").exists()


def test_results_are_aligned_lines_in_order() -> None:
    results = {"destination": "ok", "token": "failed: it answered 503"}
    table = variable("acceptance", "__acceptance_table", acceptance_facts=[1, 2, 18], acceptance_results=results)
    assert table.splitlines() == [
        "1   destination is confirmed                         ok",
        "2   a false token differs from a missing permission  failed: it answered 503",
        "18  the bill is what preflight said                  only on AWS: the bill after 24 hours",
    ]


def test_a_check_runs_once_for_the_facts_that_it_shows() -> None:
    assert variable("acceptance", "__acceptance_checks", acceptance_facts=[3, 5, 17]) == ["readings"]


def test_the_second_run_looks_only_and_has_the_same_inventory() -> None:
    command = variable("acceptance", "__acceptance_second_run", **PLACE)
    assert command[:3] == ["/venv/bin/ansible-playbook", "--inventory=/inventory", "site.yml"]
    assert "--check" in command
    assert "--skip-tags sandbox" in " ".join(command), "another checkout may have started the sandbox"


def test_the_second_run_is_given_what_this_one_was(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"extra_vars": ("deployment_name=staging", "receiver_domain=other.sandbox.test")}
    monkeypatch.setattr(context, "CLIARGS", CLIArgs(given))
    command = variable("acceptance", "__acceptance_second_run", **PLACE)
    assert command[-2:] == ["--extra-vars=deployment_name=staging", "--extra-vars=receiver_domain=other.sandbox.test"]
