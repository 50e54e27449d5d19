"""What a run by the tests' server finds and how it ends is as in a process of its own."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support import forks, playbook

SHOWN = {
    "folder": "{{ lookup('pipe', 'pwd') }}", "variable": "{{ lookup('env', 'GIVEN') }}",
    "forks": "{{ lookup('config', 'DEFAULT_FORKS') }}", "python": "{{ ansible_playbook_python }}",
    "checks": "{{ ansible_check_mode }}",
}  # fmt: skip
APART = {"process": "{{ lookup('pipe', 'cat /proc/$PPID/cmdline') }}",
         "tmp": "{{ lookup('config', 'DEFAULT_LOCAL_TMP') }}"}


def results(folder: Path, forks: int) -> dict[str, Any]:
    """What a play finds that a run fails at the end of."""
    play = folder / "play.json"
    tasks: list[dict[str, Any]] = [{"ansible.builtin.debug": {"msg": SHOWN | APART}}, {"ansible.builtin.fail": {}}]
    play.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    environment = os.environ | {"ANSIBLE_FORKS": str(forks), "GIVEN": f"to {forks}",
                                "ANSIBLE_CALLBACKS_ENABLED": "iotweb.deployment.kept_modules",
                                "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}  # fmt: skip
    done = playbook.run("-i", "localhost,", "-c", "local", "--check", str(play), env=environment, capture_output=True)
    assert done.returncode == 2, done.stderr
    first, second = json.loads(done.stdout)["plays"][0]["tasks"]
    assert second["hosts"]["localhost"]["failed"]
    found: dict[str, Any] = first["hosts"]["localhost"]["msg"]
    return found


def test_a_run_finds_what_one_of_its_own_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served, other = results(tmp_path, 3), results(tmp_path, 4)
    monkeypatch.setattr(forks, "server", lambda *_: {})
    alone = results(tmp_path, 3)
    assert ["module_server" in each["process"] for each in (served, other, alone)] == [True, True, False]
    assert len({each["tmp"] for each in (served, other, alone)}) == 3
    assert [served[name] for name in SHOWN] == [alone[name] for name in SHOWN]
    assert (other["forks"], other["variable"]) == (4, "to 4")
