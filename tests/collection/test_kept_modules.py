"""Modules' archives outlive a run, and no module runs that is older than its source."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

MODULE = """
from ansible.module_utils.basic import AnsibleModule
AnsibleModule(argument_spec={}).exit_json(msg="%s")
"""

SETTINGS = """
[defaults]
home = {home}
collections_path = {root}/collections
callbacks_enabled = iotweb.deployment.kept_modules
nocolor = true
"""


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    """A playbook of a role that has a module, and what it asks of Ansible."""
    for folder in ("roles/probe/library", "roles/probe/tasks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "roles/probe/tasks/main.yml").write_text("[{probe: {}}]")
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": ["probe"]}]))
    write(tmp_path, "first")
    return tmp_path


def write(project: Path, message: str) -> None:
    """Give the module a message."""
    (project / "roles/probe/library/probe.py").write_text(MODULE % message)


def run(project: Path) -> str:
    """Run the playbook; its output."""
    (project / "ansible.cfg").write_text(SETTINGS.format(home=project / "home", root=ROOT))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-v", "-i", "localhost,", "-c", "local",
               "play.yml", "-e", json.dumps({"ansible_python_interpreter": sys.executable})]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=True).stdout


def kept(project: Path) -> list[Path]:
    """Archives of the module, oldest sources first."""
    found = project.glob("home/kept_modules/*/ansible.legacy.probe-*-none")
    return sorted(found, key=lambda file: file.stat().st_mtime_ns)


def test_a_module_is_built_once(project: Path) -> None:
    assert '"msg": "first"' in run(project)
    [archive] = kept(project)
    built = archive.stat().st_mtime_ns
    assert '"msg": "first"' in run(project)
    assert [file.stat().st_mtime_ns for file in kept(project)] == [built]
    archive.write_bytes(b"")  # so that a run which reads it fails
    with pytest.raises(subprocess.CalledProcessError):
        run(project)


def test_a_module_that_changed_is_built_again(project: Path) -> None:
    assert '"msg": "first"' in run(project)
    write(project, "other")
    assert '"msg": "other"' in run(project)
    assert len(kept(project)) == 2


def test_archives_that_nobody_uses_go(project: Path) -> None:
    unused = project / "home/kept_modules/0123456789abcdef"
    unused.mkdir(parents=True)
    os.utime(unused, (0, 0))
    run(project)
    assert not unused.exists()
    assert kept(project)
