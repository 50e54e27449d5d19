"""A colleague's fresh checkout, without what runs of the first one left in its folder, works on the same deployment.

The colleague has exactly the rights of the generated policies, and works in test_redrive and test_rotation, too.
"""

import re

from tests.deployment.conftest import Playbook, changed


def test_status_is_whole_and_fits_a_screen(colleague: Playbook) -> None:
    done = colleague("playbooks/status.yml")
    output = done.output
    verdict = re.search(r"The path breaks at: .*", output)
    assert done.status == 0, f"{verdict[0] if verdict else 'The run failed:'}\n{output[-4000:]}"
    shown = re.findall(r"^ +(\S[\w ]*?) +(ok|note|BROKEN) +(.*)", output, re.MULTILINE)
    hops = {name: mark for name, mark, _ in shown}
    assert {"account", "terraform", "cluster", "nodes", "controller", "image", "receiver", "domain", "certificate",
            "destination", "rule", "policy", "secret", "certificates", "readings",
            "dead letters"} <= set(hops)  # fmt: skip
    assert {hops[name] for name in ("terraform", "cluster", "image", "receiver", "destination", "rule")} == {"ok"}
    assert changed(output) == []


def test_a_whole_run_changes_only_what_verify_has_here(colleague: Playbook) -> None:
    # The machine's sandbox belongs to the first checkout, which alone may change its parts.
    done = colleague("site.yml", "--skip-tags", "sandbox")
    output = done.output
    assert done.status == 0, output[-4000:]
    told = "Thing kit-1 has a certificate, and its kit was made on another machine" in " ".join(output.split())
    assert told, output[-12000:]
    assert re.findall(r"^edge-\d .* changed=(\d+)", output, re.MULTILINE) == ["0", "0"]
    beside = [task for task in changed(output) if not task.startswith("device : ")]
    assert set(beside) <= {"verify : Create the work folder"}, beside


def test_a_teardown_can_be_checked(colleague: Playbook) -> None:
    done = colleague("playbooks/teardown.yml", "--check")
    assert done.status == 0, done.output[-4000:]
    counts = re.search(r"Plan: 0 to add, 0 to change, (\d+) to destroy", done.output)
    assert counts, done.output[-4000:]
    assert int(counts[1]) > 20
