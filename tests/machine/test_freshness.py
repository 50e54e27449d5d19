"""A sandbox whose emulated AWS or programs are others by now is started anew."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.machine.conftest import Run
from tests.support.paths import ROOT

IDENTITY = {"id": "first"}
GROUP = "freshness-test"


class Identity(BaseHTTPRequestHandler):
    """Stands for the emulated AWS's mark."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(IDENTITY).encode())

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """Where the mark is served."""
    IDENTITY["id"] = "first"
    server = HTTPServer(("127.0.0.1", 0), Identity)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture
def supervisor() -> Iterator[subprocess.Popen[bytes]]:
    """Stands for the supervisor: a process in the sandbox's control group."""
    roots = [root for root in Path("/sys/fs/cgroup").glob("*") if (root / "cgroup.procs").exists()]
    root = roots[0] if not Path("/sys/fs/cgroup/cgroup.controllers").exists() else Path("/sys/fs/cgroup")
    group = root / GROUP / "daemons"
    group.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(["sleep", "600"])
    (group / "cgroup.procs").write_text(str(process.pid))
    yield process
    process.kill()
    process.wait()
    group.rmdir()
    group.parent.rmdir()


@pytest.fixture
def arguments(tmp_path: Path, url: str, supervisor: subprocess.Popen[bytes]) -> dict[str, Any]:
    """A sandbox that runs."""
    (tmp_path / "supervisor").mkdir()
    (tmp_path / "supervisor/supervisord.pid").write_text(f"{supervisor.pid}\n")
    (tmp_path / "owner").write_text("/checkout\n")
    return {
        "state_dir": str(tmp_path),
        "owner": "/checkout",
        "cgroup": GROUP,
        "identity_url": url,
        "venv_digest": "code-1",
    }


def test_same_run_and_code_are_continued(module: Run, arguments: dict[str, Any]) -> None:
    assert module("sandbox_freshness", record=True, **arguments)["changed"]
    assert not module("sandbox_freshness", record=True, **arguments)["changed"]
    result = module("sandbox_freshness", **arguments)
    assert (result["stale"], result["running"], result["owned"]) == ("", True, True)


def test_another_run_of_the_emulated_aws_is_stale(module: Run, arguments: dict[str, Any]) -> None:
    module("sandbox_freshness", record=True, **arguments)
    IDENTITY["id"] = "second"
    assert "emulated AWS was restarted" in module("sandbox_freshness", **arguments)["stale"]


def test_other_code_is_stale(module: Run, arguments: dict[str, Any]) -> None:
    module("sandbox_freshness", record=True, **arguments)
    assert "programs have changed" in module("sandbox_freshness", **{**arguments, "venv_digest": "code-2"})["stale"]


def test_start_that_was_interrupted_before_it_held_anything_is_continued(
    module: Run, arguments: dict[str, Any]
) -> None:
    assert module("sandbox_freshness", **{**arguments, "venv_digest": "code-2"})["stale"] == ""


def test_dead_supervisor_is_stale(module: Run, arguments: dict[str, Any], supervisor: subprocess.Popen[bytes]) -> None:
    supervisor.kill()
    supervisor.wait()
    result = module("sandbox_freshness", **arguments)
    assert "ended without make sandbox-down" in result["stale"]
    assert result["running"] is False


def test_nothing_there_is_not_stale(module: Run, arguments: dict[str, Any], tmp_path: Path) -> None:
    result = module("sandbox_freshness", **{**arguments, "state_dir": str(tmp_path / "none")})
    assert (result["stale"], result["running"], result["owned"]) == ("", False, False)


@pytest.fixture
def unchanged(module: Run, arguments: dict[str, Any], tmp_path: Path) -> Callable[..., bool]:
    """Whether a whole run over one source and one configuration file would find everything as it left it."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source/role.yml").write_text("tasks")
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker/mosquitto.conf").write_text("listener")
    module("sandbox_freshness", record=True, **arguments)

    def look(settings: str = "{}") -> dict[str, Any]:
        return module("sandbox_freshness", sources=[str(tmp_path / "source")], settings=settings, **arguments)

    first = look()
    assert not first["unchanged"]
    module("sandbox_freshness", complete=first["inputs"], **arguments)
    return lambda *settings: bool(look(*settings)["unchanged"])


def test_what_a_whole_run_left_is_unchanged(unchanged: Callable[..., bool], tmp_path: Path) -> None:
    assert unchanged()
    (tmp_path / "source/__pycache__").mkdir()
    (tmp_path / "source/__pycache__/role.pyc").write_text("byte code")
    assert unchanged()


@pytest.mark.parametrize("file", ["source/role.yml", "source/new.yml", "broker/mosquitto.conf", "broker/new.conf"])
def test_other_sources_or_configuration_are_a_change(unchanged: Callable[..., bool], tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_text("something else")
    assert not unchanged()


def test_what_programs_write_is_no_change(unchanged: Callable[..., bool], tmp_path: Path) -> None:
    (tmp_path / "aws").mkdir()
    (tmp_path / "aws/dynamodb-calls").write_text("calls by principal")
    assert unchanged()


def test_other_settings_are_a_change(unchanged: Callable[..., bool]) -> None:
    assert not unchanged('{"mqtt_broker_port": 1}')


def test_settings_are_variables_and_not_results_of_tasks(tmp_path: Path) -> None:
    folder = ("-e", f"settings_state_dir={tmp_path}/new")
    done = subprocess.run([f"{ROOT}/.venv/bin/ansible-playbook", "tests/machine/settings.yml", *folder], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dead_supervisor_is_a_change(
    unchanged: Callable[..., bool], supervisor: subprocess.Popen[bytes]
) -> None:
    supervisor.kill()
    supervisor.wait()
    assert not unchanged()
