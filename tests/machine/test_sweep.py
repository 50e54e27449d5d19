"""`make sandbox-down` ends what is the sandbox's, whatever became of it, and nothing else."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.machine.conftest import Run

NAME = "sweep-test"
GROUPS = [group / NAME for group in Path("/sys/fs/cgroup").glob("*") if (group / "cgroup.procs").exists()] or [
    Path("/sys/fs/cgroup", NAME)
]


def start(*command: str, **variables: str) -> subprocess.Popen[bytes]:
    """A process in the background."""
    return subprocess.Popen(command, env={**os.environ, **variables}, start_new_session=True)


def run(*command: str | Path) -> None:
    """A command that must work."""
    subprocess.run(list(map(str, command)), check=True)


@pytest.fixture
def arguments(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What names a sandbox of this test's own; what a failed sweep leaves is removed."""
    state = tmp_path / "state"
    yield {
        "state_dir": str(state),
        "cgroup": NAME,
        "namespace": NAME,
        "link": "sweeptest0",
        "hosts_marker": "no such marker in any file",
        "marks": ["SWEEP_TEST", "SWEEP_TEST_BUILD"],
    }
    subprocess.run(["umount", "-l", str(state / "mnt")], capture_output=True, check=False)
    subprocess.run(["ip", "link", "delete", "sweeptest0"], capture_output=True, check=False)
    for name in (NAME, f"{NAME}.node-2"):
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def test_everything_of_it_ends_and_a_bystander_lives(module: Run, arguments: dict[str, Any]) -> None:
    state = Path(arguments["state_dir"])
    (state / "mnt").mkdir(parents=True)
    (state / "owner").write_text("/a/checkout/that/is/gone\n")
    run("mount", "-t", "tmpfs", "none", state / "mnt")
    run("ip", "netns", "add", NAME)
    run("ip", "netns", "add", f"{NAME}.node-2")
    run("ip", "link", "add", "sweeptest0", "type", "veth", "peer", "name", "peer", "netns", NAME)
    group = GROUPS[0] / "daemons"
    group.mkdir(parents=True)
    looping = start("sh", "-c", f"echo $$ > {group}/cgroup.procs; trap '' TERM INT; while :; do sleep 0.2; done")
    marked = start("sleep", "600", SWEEP_TEST=str(state))
    inside = start("nsenter", f"--net=/run/netns/{NAME}.node-2", "sleep", "600")
    bystander = start("sleep", "600", SWEEP_TEST=f"{state}-of-another")
    while not (group / "cgroup.procs").read_text():
        pass
    try:
        assert "folder" in " ".join(module("sandbox_sweep", check=True, **arguments)["removed"])
        assert marked.poll() is None
        result = module("sandbox_sweep", **arguments)
        assert "failed" not in result, result
        for process in (looping, marked, inside):
            assert process.wait(timeout=5) == -signal.SIGKILL
        assert bystander.poll() is None
    finally:
        for process in (looping, marked, inside, bystander):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    assert not state.exists()
    assert str(state) not in Path("/proc/self/mounts").read_text()
    assert not list(Path("/run/netns").glob(f"{NAME}*"))
    assert not Path("/sys/class/net/sweeptest0").exists()
    assert not any(each.exists() for each in GROUPS)
    assert module("sandbox_sweep", **arguments)["removed"] == []


def test_builds_are_spared_when_asked(module: Run, arguments: dict[str, Any]) -> None:
    build = start("sleep", "600", SWEEP_TEST_BUILD=arguments["state_dir"])
    try:
        assert module("sandbox_sweep", **{**arguments, "marks": ["SWEEP_TEST"]})["removed"] == []
        assert build.poll() is None
        assert module("sandbox_sweep", **arguments)["removed"] == ["1 processes"]
        assert build.wait(timeout=5) == -signal.SIGKILL
    finally:
        with contextlib.suppress(ProcessLookupError):
            build.kill()


def test_a_folder_of_others_is_refused(module: Run, arguments: dict[str, Any]) -> None:
    other = Path(arguments["state_dir"])
    other.mkdir()
    (other / "letters").write_text("mine")
    result = module("sandbox_sweep", **arguments)
    assert "has no file `owner`" in result["msg"]
    assert (other / "letters").exists()
    assert "no folder of the sandbox's own" in module("sandbox_sweep", **{**arguments, "state_dir": "/var"})["msg"]
