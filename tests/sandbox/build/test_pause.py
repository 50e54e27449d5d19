"""The pause program, compiled as the sandbox does: it holds a pod until it is signalled, and reaps."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from sandbox_build import toolchain
from sandbox_build.plan import Places

from tests.support.paths import ROOT

MODULE = ROOT / "sandbox/kubernetes"


@pytest.fixture(scope="module")
def pause(tmp_path_factory: pytest.TempPathFactory) -> Path:
    candidates = [Path(folder) / "go" for folder in [*os.environ["PATH"].split(":"), "/usr/local/go/bin"]]
    go = toolchain.choose(candidates, toolchain.needed_version((MODULE / "go.mod").read_text()))
    if go is None:
        pytest.skip("no Go that is new enough")
    places = Places(tmp_path_factory.mktemp("cache"), "d")
    places.scratch.mkdir(parents=True)
    program = places.cache / "pause"
    command = [str(go), "build", "-o", str(program), "./pause"]
    # Go's own packages are compiled once, not with each run of the tests.
    environment = toolchain.environment(places) | {"GOCACHE": str(ROOT / "build/test/go")}
    subprocess.run(command, cwd=MODULE, env=environment, check=True, timeout=300)
    return program


def test_it_waits_and_ends_when_told(pause: Path) -> None:
    with subprocess.Popen([pause]) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.terminate()
        assert process.wait(5) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="a process namespace needs root")
def test_as_first_process_it_reaps_orphans(pause: Path) -> None:
    orphans = "(sleep 1 & sleep 1.2 & sleep 1.2 &)"
    command = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", f"{orphans}; exec {pause}"]
    with subprocess.Popen(command) as process:
        try:
            [first] = wait_for_children(process.pid, 1)
            assert len(wait_for_children(first, 3)) == 3
            assert wait_for_children(first, 0) == []
        finally:
            process.kill()


def wait_for_children(process: int, count: int) -> list[int]:
    """Return a process' children, zombies too, as soon as there are so many, or after five seconds."""
    file = Path(f"/proc/{process}/task/{process}/children")
    give_up = time.monotonic() + 5
    while True:
        children = [int(child) for child in file.read_text().split()]
        if len(children) == count or time.monotonic() > give_up:
            return children
        time.sleep(0.02)
