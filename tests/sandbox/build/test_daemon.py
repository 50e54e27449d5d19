"""A build in the background: started once, watched by many, killed anywhere, and finished all the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sandbox_build import daemon
from sandbox_build.plan import Inputs, Places, Plan
from sandbox_build.status import State

from tests.support.waiting import until

PATIENCE = 20.0  # seconds
TOOL = Path(__file__).parents[3] / "sandbox/roles/program_builds/files"


def builds(go: Path) -> int:
    """How many programs the compiler was asked for."""
    return len((go.parent / "builds").read_text().splitlines())


def pid(places: Places) -> int:
    return int((places.work / "pid").read_text())


def alive(process: int) -> bool:
    """Say whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_everything_is_made(places: Places, inputs: Inputs, go: Path) -> None:
    assert daemon.start(places, inputs, [go])
    status = daemon.wait(places, [], PATIENCE)
    assert (status.state, status.message) == (State.READY, "")
    assert (places.programs / "first").read_text() == "program ./first\n"
    assert os.readlink(places.programs / "alias") == "first"  # noqa: PTH115
    assert (places.programs / "second").exists()
    assert places.image(Plan.read(places.plan).images[0]).exists()
    assert (places.charts / "chart/Chart.yaml").exists()
    assert (places.cache / "bin/current/second").exists()
    assert (places.cache / "charts/current/chart").is_dir()
    leftovers = [
        path for path in places.cache.rglob(".*") if path.name != ".complete" and "sandbox_build" not in path.parts
    ]
    assert leftovers == []


def test_release_variables_reach_the_linker(places: Places, inputs: Inputs, go: Path) -> None:
    daemon.start(places, inputs, [go])
    daemon.wait(places, [], PATIENCE)
    first = (go.parent / "builds").read_text().splitlines()[0]
    assert "-s -w -X v.version=v1" in first
    assert first.endswith("./first")


def test_a_program_is_ready_before_the_next_one(places: Places, inputs: Inputs, go: Path) -> None:
    daemon.start(places, inputs, [go])
    assert daemon.wait(places, ["first"], PATIENCE).state is State.READY
    (go.parent / "pace").write_text("0.2")
    assert daemon.wait(places, ["second"], PATIENCE).state is State.READY


def test_progress_counts_packages(places: Places, inputs: Inputs, go: Path) -> None:
    (go.parent / "pace").write_text("1.2")
    daemon.start(places, inputs, [go])
    seen = set()
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up and "    2 of 5 packages" not in seen:
        seen.add(daemon.wait(places, ["first"], 0.1).work)
    assert "    2 of 5 packages" in seen


def test_a_second_start_finds_the_first(places: Places, inputs: Inputs, go: Path) -> None:
    (go.parent / "pace").write_text("0.3")
    assert daemon.start(places, inputs, [go])
    first = pid(places)
    assert not daemon.start(places, inputs, [go])
    assert pid(places) == first
    assert daemon.wait(places, [], PATIENCE).state is State.READY
    assert builds(go) == 2


def test_a_complete_build_is_left_alone(places: Places, inputs: Inputs, go: Path) -> None:
    daemon.start(places, inputs, [go])
    daemon.wait(places, [], PATIENCE)
    assert not daemon.start(places, inputs, [go])
    assert not daemon.running(places.work)
    assert builds(go) == 2


@pytest.mark.parametrize("moment", [0.05, 0.5, 1.0, 1.5, 2.0])
def test_killed_at_any_moment_it_completes_when_started_again(
    places: Places, inputs: Inputs, go: Path, moment: float
) -> None:
    (go.parent / "pace").write_text("0.2")
    daemon.start(places, inputs, [go])
    time.sleep(moment)
    os.kill(pid(places), signal.SIGKILL)
    status = daemon.wait(places, [], 5)
    if status.state is not State.READY:
        assert status.state is State.STOPPED
        assert "start again" in status.message
        assert daemon.start(places, inputs, [go])
    assert daemon.wait(places, [], PATIENCE).state is State.READY
    assert (places.programs / "first").read_text() == "program ./first\n"


def test_the_compiler_dies_with_a_killed_build(places: Places, inputs: Inputs, go: Path) -> None:
    (go.parent / "pace").write_text("3")
    daemon.start(places, inputs, [go])
    while not (go.parent / "builds").exists():
        time.sleep(0.05)
    children = Path(f"/proc/{pid(places)}/task").glob("*/children")
    compilers = [int(child) for file in children for child in file.read_text().split()]
    assert compilers
    os.kill(pid(places), signal.SIGKILL)
    give_up = time.monotonic() + 5
    while any(map(alive, compilers)) and time.monotonic() < give_up:
        time.sleep(0.05)
    assert not any(map(alive, compilers))


def test_stop_ends_it_and_keeps_what_is_there(places: Places, inputs: Inputs, go: Path) -> None:
    daemon.start(places, inputs, [go])
    daemon.wait(places, ["first"], PATIENCE)
    (go.parent / "pace").write_text("5")
    if daemon.running(places.work):
        assert daemon.stop(places.cache) == [pid(places)]
    assert not daemon.running(places.work)
    assert (places.programs / "first").exists()
    assert daemon.stop(places.cache) == []


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("mkdir /x: no space left on device", "disk is full"),
        ("compile: signal: killed", "Memory ran out"),
        ("dial tcp: lookup proxy: no such host", "GOPROXY"),
    ],
)
def test_a_failure_names_the_fix_and_shows_the_log(
    places: Places, inputs: Inputs, go: Path, words: str, hint: str
) -> None:
    (go.parent / "fails").write_text(f"# package/4\n{words}\n")
    daemon.start(places, inputs, [go])
    status = daemon.wait(places, ["first"], PATIENCE)
    assert status.state is State.FAILED
    assert hint in status.message
    assert words in daemon.log_tail(places)
    assert not (places.programs / "first").exists()
    (go.parent / "fails").unlink()
    until(lambda: not daemon.running(places.work))  # it says what failed, and then ends
    assert daemon.start(places, inputs, [go])
    assert daemon.wait(places, [], PATIENCE).state is State.READY


def test_a_connection_that_breaks_once_is_no_failure(places: Places, inputs: Inputs, go: Path) -> None:
    (go.parent / "unreachable").touch()
    daemon.start(places, inputs, [go])
    assert daemon.wait(places, [], PATIENCE).state is State.READY
    assert any("fetched again" in line for line in daemon.log_tail(places))


def test_an_earlier_failure_is_no_hint_for_the_next(places: Places, inputs: Inputs, go: Path) -> None:
    (go.parent / "fails").write_text("no space left on device\n")
    daemon.start(places, inputs, [go])
    daemon.wait(places, ["first"], PATIENCE)
    (go.parent / "fails").write_text("undefined: x\n")
    daemon.start(places, inputs, [go])
    status = daemon.wait(places, ["first"], PATIENCE)
    assert status.message == "`go build` failed with 1."


def test_a_wrong_chart_is_refused(places: Places, inputs: Inputs, go: Path) -> None:
    (go.parent / "helm/chart/Chart.yaml").write_text("name: chart\nappVersion: v3\n")
    daemon.start(places, inputs, [go])
    status = daemon.wait(places, ["second"], PATIENCE)
    assert status.state is State.FAILED
    assert "is not for v2" in status.message


def test_builds_of_two_checkouts_take_turns(places: Places, inputs: Inputs, go: Path) -> None:
    (go.parent / "pace").write_text("0.1")
    several = [Places(places.cache, digest) for digest in ("aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc")]
    for each in several:
        assert daemon.start(each, inputs, [go])
    for each in several:
        assert daemon.wait(each, [], PATIENCE).state is State.READY
    # Each stayed as long as its build ran; the next build leaves two.
    last = Places(places.cache, "dddddddddddd")
    daemon.start(last, inputs, [go])
    assert daemon.wait(last, [], PATIENCE).state is State.READY
    while daemon.running(last.work):
        time.sleep(0.05)
    for kind in ("bin", "images", "charts", "build"):
        folders = {path.name for path in (last.cache / kind).iterdir() if path.is_dir()} - {"current"}
        assert len(folders) == 2
        assert "dddddddddddd" in folders
    assert (last.cache / "bin/current").resolve().name == "dddddddddddd"


def test_unknown_programs_are_named(places: Places, inputs: Inputs, go: Path) -> None:
    (go.parent / "pace").write_text("0.2")
    daemon.start(places, inputs, [go])
    with pytest.raises(KeyError, match="third"):
        daemon.wait(places, ["first", "third"], 0)


def test_the_command_line_answers_in_json(places: Places, inputs: Inputs, go: Path) -> None:
    command = [sys.executable, "-m", "sandbox_build"]
    where = [f"--cache={places.cache}", f"--digest={places.digest}"]
    start = [f"--source={inputs.source}", f"--requirements={inputs.requirements}", f"--go={go}"]
    for arguments in (["start", *where, *start], ["wait", *where, "--seconds=20", "--program=second"]):
        answer = subprocess.run(
            [*command, *arguments],
            cwd=TOOL,
            input=inputs.plan,
            capture_output=True,
            text=True,
            check=True,
        )
    assert json.loads(answer.stdout)["state"] == "ready"


def test_the_checkout_may_go_while_it_builds(places: Places, inputs: Inputs, go: Path) -> None:
    (go.parent / "pace").write_text("0.2")
    daemon.start(places, inputs, [go])
    shutil.rmtree(inputs.source)
    inputs.requirements.unlink()
    assert daemon.wait(places, [], PATIENCE).state is State.READY
