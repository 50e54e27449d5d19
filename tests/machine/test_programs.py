"""Programs run under the real supervisord: started once, restarted when they changed, and awaited."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.machine.conftest import Run
from tests.support.paths import ROOT

SUPERVISORD = ROOT / "build/venv/sandbox-test/bin/supervisord"


@pytest.fixture
def arguments(tmp_path_factory: pytest.TempPathFactory, module: Run) -> Iterator[dict[str, Any]]:
    """A supervisor of this test's own, ended as the sandbox's is."""
    assert SUPERVISORD.exists(), (
        "The supervisor is in the environment of the sandbox's tests: make build/venv/sandbox-test/installed"
    )
    state = tmp_path_factory.mktemp("p") / "s"
    state.mkdir()
    (state / "owner").write_text("test")
    yield {"state_dir": str(state), "supervisord": str(SUPERVISORD), "cgroup": "programs-test"}
    module(
        "sandbox_sweep",
        state_dir=str(state),
        cgroup="programs-test",
        namespace="programs-test",
        link="programstest0",
        hosts_marker="no such marker in any file",
        marks=["PROGRAMS_TEST"],
    )
    assert not state.exists()


@pytest.fixture
def server() -> dict[str, Any]:
    """A program that takes a moment until it serves."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = f"sh -c 'sleep 1; exec python3 -m http.server --bind 127.0.0.1 {port}'"
    return {
        "name": "server",
        "command": command,
        "environment": {"ODD": "100% of C:\\dir, é"},
        "ready": {"url": f"http://127.0.0.1:{port}/"},
    }


def test_started_once_and_again_when_changed(module: Run, arguments: dict[str, Any], server: dict[str, Any]) -> None:
    would = module("supervised_programs", check=True, programs=[server], **arguments)
    assert would["changed"]
    assert not (Path(arguments["state_dir"]) / "supervisor").exists()
    first = module("supervised_programs", programs=[server], **arguments)
    assert first["started"] == ["server"], first
    second = module("supervised_programs", programs=[server], **arguments)
    assert (second["changed"], second["started"]) == (False, [])
    other = {"name": "other", "command": "sleep 600"}
    assert module("supervised_programs", programs=[other], **arguments)["started"] == ["other"]
    newer = {**server, "digest": "newer"}
    assert module("supervised_programs", programs=[newer, other], **arguments)["started"] == ["server"]


def test_one_look_finds_a_program_that_died_or_does_not_serve(
    module: Run, arguments: dict[str, Any], server: dict[str, Any], tmp_path: Path
) -> None:
    def missing(**more: Any) -> list[str]:
        found: list[str] = module("supervised_programs", look=True, **more, **arguments)["missing"]
        return found

    assert missing() == ["supervisord does not run"]
    flag = tmp_path / "serves"
    flag.touch()
    flagged = {"name": "flagged", "command": "sleep 600", "ready": {"command": ["test", "-e", str(flag)]}}
    module("supervised_programs", programs=[server, flagged], **arguments)
    assert missing() == []
    assert missing(checks=[["true"], ["false"]]) == ["not ready"]
    flag.unlink()
    assert missing() == ["not ready"]
    flag.touch()
    control = Path(arguments["state_dir"]) / "supervisor/control"
    subprocess.run([control, "stop", "server"], check=True, capture_output=True)
    assert missing() == ["server is STOPPED"]
    assert module("supervised_programs", programs=[server, flagged], **arguments)["started"] == ["server"]
    assert missing() == []


def test_environment_reaches_the_program_as_given(
    module: Run, arguments: dict[str, Any], server: dict[str, Any], tmp_path: Path
) -> None:
    seen = tmp_path / "seen"
    writer = {**server, "command": f"sh -c 'printf %s \"$ODD$AWS_PROFILE\" > {seen}; exec sleep 600'", "ready": {}}
    result = module("supervised_programs", programs=[writer], **arguments)
    assert "failed" not in result, result
    assert seen.read_text() == "100% of C:\\dir, é"
    quoting = {**writer, "environment": {"JSON": '{"a": 1}'}}
    assert (
        "JSON can't be passed in the environment"
        in module("supervised_programs", programs=[quoting], **arguments)["msg"]
    )


def test_failure_shows_the_end_of_the_log_and_where_more_is(module: Run, arguments: dict[str, Any]) -> None:
    broken = {"name": "broken", "command": "sh -c 'echo the reason; exit 3'", "ready": {"timeout": 4}}
    message = module("supervised_programs", programs=[broken], **arguments)["msg"]
    assert "broken does not get ready" in message
    assert "the reason" in message
    assert "/log/broken.log" in message
