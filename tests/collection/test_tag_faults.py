"""Tags of a command line that no task of the playbooks has."""

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
