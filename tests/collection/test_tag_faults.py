"""Tags of a command line that leave the playbooks nothing to do."""

import re

import pytest
from ansible import context
from ansible.utils.context_objects import CLIArgs
from ansible_collections.iotweb.deployment.plugins.filter.preflight_tag_faults import preflight_tag_faults

from tests.support.paths import ROOT

ROLES = [path.name for path in (ROOT / "roles").iterdir()]


@pytest.mark.parametrize(
    ("playbook", "tags", "unknown"),
    [
        ("site.yml", ["all", "always", "sandbox", "machine", "shared_secret", *ROLES], []),
        ("site.yml", ["recever", "iot_core"], ["recever"]),
        ("playbooks/receiver.yml", ["receiver", "shared_secret", "preflight", "iot_core"], ["iot_core"]),
        ("playbooks/teardown.yml", ["preflight", "terraform"], ["terraform"]),
        # Those of molecule.
        ("playbooks/verify.yml", ["notest", "molecule-notest", "molecule-idempotence-notest", "notests"], ["notests"]),
    ],
)
def test_unknown_tags_are_named(
    playbook: str, tags: list[str], unknown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "CLIARGS", CLIArgs({"args": (str(ROOT / playbook),)}))
    found = preflight_tag_faults(tags, str(ROOT / "roles"), ["preflight", "deployment_facts"])
    assert [fault.partition(" has no tag ")[2].partition(",")[0] for fault in found] == unknown


PLAYBOOKS = sorted(path.name for path in ROOT.glob("playbooks/*.yml"))


def named(playbook: str) -> set[str]:
    """The tags that a playbook's own lines name, but for those of its checks."""
    text = (ROOT / "playbooks" / playbook).read_text()
    lines = re.findall(r"^ +(?:- \{role.* )?tags: \[([\w, ]+)\]", text, re.MULTILINE)
    return {tag for line in lines for tag in line.split(", ")} - {"always", "preflight"}


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_leaving_out_all_of_a_playbook_is_refused(playbook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", CLIArgs({"args": (str(ROOT / "playbooks" / playbook),)}))
    tags = sorted(named(playbook))
    found = preflight_tag_faults(["all"], str(ROOT / "roles"), ["preflight", "deployment_facts"], tags)
    if tags:
        said = f"nothing to do with --skip-tags {','.join(tags)}, so nothing was done. Run it without that."
        assert [fault.partition(".yml has ")[2] for fault in found] == [said]
    else:
        assert found == []


@pytest.mark.parametrize(
    ("playbook", "options", "refused"),
    [
        ("site.yml", (["all"], ["sandbox", "receiver_image"], []), False),
        ("site.yml", (["receiver"], ["receiver"], []), True),
        ("site.yml", (["receiver"], ["shared_secret"], []), False),
        ("site.yml", (["shared_secret"], ["receiver"], []), True),
        ("site.yml", (["preflight"], ["sandbox"], []), False),
        ("playbooks/devices.yml", (["all"], ["device"], []), False),
        ("playbooks/infrastructure.yml", (["all"], ["terraform"], []), True),
        ("playbooks/monitoring.yml", (["all"], ["kube_prometheus_stack"], []), False),
        ("playbooks/monitoring.yml", (["all"], ["kube_prometheus_stack"], ["sandbox"]), True),
        ("playbooks/preflight.yml", (["all"], ["preflight"], []), False),
        ("playbooks/teardown.yml", (["all"], ["deployment_facts"], []), False),
        ("playbooks/verify.yml", (["all"], ["notest", "molecule-notest"], []), False),
        # A production inventory has no host in group sandbox.
        ("site.yml", (["sandbox"], [], ["sandbox"]), True),
        ("site.yml", (["machine", "daemons"], [], ["sandbox"]), True),
        ("site.yml", (["sandbox", "receiver"], [], ["sandbox"]), False),
        ("site.yml", (["sandbox"], [], []), False),
        ("site.yml", (["sandbox", "preflight"], [], ["sandbox"]), False),
        ("site.yml", (["all"], [], ["sandbox"]), False),
        ("playbooks/verify.yml", (["tagged"], [], ["sandbox"]), False),
    ],
)
def test_what_is_left_out_must_leave_something_to_do(
    playbook: str, options: tuple[list[str], list[str], list[str]], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags, skipped, empty = options
    monkeypatch.setattr(context, "CLIARGS", CLIArgs({"args": (str(ROOT / playbook),)}))
    found = preflight_tag_faults(tags, str(ROOT / "roles"), ["preflight", "deployment_facts"], skipped, empty)
    assert bool(found) is refused, found
    if refused and not skipped:
        assert f"--tags {','.join(sorted(tags))}, so nothing was done" in found[0]
