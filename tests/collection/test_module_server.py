"""Modules run in forks of one Python a run, as they would run in a Python of their own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sysconfig
import time
import venv
from pathlib import Path
from typing import Any

import pytest

from tests.support import forks
from tests.support.paths import ROOT

MODULE = """
import os, pathlib, signal, sys, time
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.extra import NAME
module = AnsibleModule(argument_spec={"end": {}, "file": {}})
if module.params["end"] == "signal":
    os.kill(os.getpid(), signal.SIGKILL)
if module.params["end"] == "raise":
    raise RuntimeError("raised by the module")
if module.params["end"] == "never":
    pathlib.Path(module.params["file"]).write_text(str(os.getpid()))
    time.sleep(600)
mask = os.umask(0)
module.exit_json(name=NAME, parent=os.getppid(), command=pathlib.Path(f"/proc/{os.getppid()}/cmdline").read_text(),
                 prefix=sys.prefix, mask=mask, folder=os.getcwd(), given=os.environ.get("GIVEN"),
                 server=os.environ.get("IOTWEB_MODULE_SERVER"))
"""

SETTINGS = f"""
[defaults]
collections_path = {ROOT}/collections
callbacks_enabled = iotweb.deployment.module_server
callback_result_format = json
stdout_callback = ansible.posix.json
[connection]
pipelining = true
"""


@pytest.fixture(name="environment", scope="module")
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment as `make setup` makes it, with this environment's packages."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    shutil.copy(ROOT / "requirements/module_client.py", packages)
    (packages / "module_client.pth").write_text("import module_client\n")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin/python"


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    """A folder of playbooks with a role that has a module."""
    for folder in ("library", "module_utils"):
        (tmp_path / "roles/probe" / folder).mkdir(parents=True)
    (tmp_path / "roles/probe/library/probe.py").write_text(MODULE)
    (tmp_path / "roles/probe/module_utils/extra.py").write_text("NAME = 'from the archive'\n")
    (tmp_path / "ansible.cfg").write_text(SETTINGS)
    return tmp_path


def start(environment: Path, project: Path, *tasks: dict[str, Any], **given: str) -> subprocess.Popen[str]:
    """Start a run of these tasks, with variables of its environment."""
    here = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    play = {"hosts": "localhost", "gather_facts": False, "roles": ["probe"], "tasks": tasks, "vars": here}
    (project / "play.yml").write_text(json.dumps([play]))
    others = ("ANSIBLE_", "PYTHON", "IOTWEB_")
    variables = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    command = [str(environment), "-m", "ansible", "playbook", "-i", "localhost,", "play.yml"]
    variables |= {"ANSIBLE_HOME": str(project / "home")} | given
    return subprocess.Popen(command, cwd=project, env=variables, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip


def results(environment: Path, project: Path, *tasks: dict[str, Any], **given: str) -> list[dict[str, Any]]:
    """Run these tasks; the result of each."""
    output, _ = start(environment, project, *tasks, **given).communicate(timeout=120)
    played = json.loads(output[output.index("{\n"):])["plays"][0]["tasks"]
    return [task["hosts"]["localhost"] for task in played]


def runs(process: int) -> bool:
    """Whether a process runs."""
    with contextlib.suppress(OSError):
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    return False


def wait_for_end(process: int) -> None:
    """Wait until a process has ended."""
    deadline = time.monotonic() + 60
    while runs(process):
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.02)


def test_modules_share_a_server_that_ends_with_the_run(environment: Path, project: Path) -> None:
    first, second = results(environment, project, {"probe": {}}, {"probe": {}})
    assert first["parent"] == second["parent"]
    assert "module_server.py" in first["command"]
    wait_for_end(first["parent"])


def test_runs_share_a_server_that_they_find(environment: Path, project: Path) -> None:
    server = forks.server(environment.parent.parent)
    [[first], [second]] = [results(environment, project, {"probe": {}}, **server) for _ in range(2)]
    assert first["parent"] == second["parent"]
    assert runs(first["parent"])


def test_a_module_finds_what_it_finds_in_a_python_of_its_own(environment: Path, project: Path) -> None:
    tasks: list[dict[str, Any]] = [{"probe": {}, "environment": {"GIVEN": "to the first"}}, {"probe": {}}]
    served = results(environment, project, *tasks)
    (project / "ansible.cfg").write_text(SETTINGS.replace("module_server", "kept_modules"))
    alone = results(environment, project, *tasks)
    assert "module_server.py" not in alone[0]["command"]
    for name in ("name", "prefix", "mask", "folder", "given", "server"):
        assert [result[name] for result in served] == [result[name] for result in alone]
    assert [result["given"] for result in served] == ["to the first", None]


@pytest.mark.parametrize(("end", "said"), [("signal", '"rc": 137'), ("raise", "raised by the module")])
def test_a_module_that_ends_badly_fails_its_task_alone(environment: Path, project: Path, end: str, said: str) -> None:
    bad, good = results(environment, project, {"block": [{"probe": {"end": end}}], "rescue": [{"probe": {}}]})
    assert bad["failed"]
    assert said in json.dumps(bad)
    assert good["name"] == "from the archive"


def test_an_interrupted_run_leaves_no_module(environment: Path, project: Path) -> None:
    file = project / "process"
    run = start(environment, project, {"probe": {"end": "never", "file": str(file)}})
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline, run.communicate(timeout=60)[0]
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGINT)
    run.communicate(timeout=60)
    wait_for_end(int(file.read_text()))


@pytest.mark.parametrize("variable", ["{prefix}:{folder}/none", "/elsewhere:{folder}/none"])
def test_without_a_server_a_program_runs_by_itself(environment: Path, tmp_path: Path, variable: str) -> None:
    value = variable.format(prefix=environment.parent.parent, folder=tmp_path)
    program = "import sys; print('ran'); sys.exit(3)"
    done = subprocess.run([environment], env={"IOTWEB_MODULE_SERVER": value}, input=program,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (3, "ran\n", "")
