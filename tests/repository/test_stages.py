"""Every plan runs to its end, each stage once and after what it waits for."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from tests import run, stages
from tests.stages import Count, Counter, Phase, Stage, lint_plan, plan, unit_plan
from tests.support.waiting import until

PLANS: dict[str, Callable[[], list[Phase]]] = {"all": plan, "lint": lint_plan, "unit": lambda: unit_plan(None)}


@pytest.fixture(name="log")
def _log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a plan does: `+name` where a stage starts, `-name` where it ends."""
    log: list[str] = []

    def carry_out(stage: Stage) -> Count:
        log.append(f"+{stage.name}")
        with run.progress:
            log.append(f"-{stage.name}")
            run.ended.add(stage.name)
            run.progress.notify_all()
        return Count(passed=1)

    monkeypatch.setattr(run, "carry_out", carry_out)
    monkeypatch.setattr(run, "ended", set())
    return log


def carried_out(phase: Phase, workers: int) -> int:
    """Run a phase as `make test` does; the number of its stages that passed. Fails where one waits for ever."""
    planned = frozenset(stage.name for lane in phase for stage in lane)
    lanes = list(phase)
    with ThreadPoolExecutor(2 * workers) as pool:
        done = [pool.submit(run.carry_out_lanes, lanes, planned, first) for first in [True, False] * workers]
        stuck = threading.Timer(20, release, [lanes])
        stuck.start()
        passed = sum(count.passed for each in done for count in each.result())
        stuck.cancel()
    return passed


def release(lanes: Phase) -> None:
    """Let workers end that would wait for ever."""
    with run.progress:
        lanes.clear()
        run.progress.notify_all()


@pytest.mark.parametrize(("name", "workers"), list(product(PLANS, [1, 3])))
def test_every_stage_runs_once_after_what_it_waits_for(name: str, workers: int, log: list[str]) -> None:
    stages = []
    for phase in PLANS[name]():
        stages += [stage for lane in phase for stage in lane]
        assert carried_out(phase, workers) == sum(map(len, phase))
    assert sorted(log) == sorted(sign + stage.name for stage in stages for sign in "+-")
    for stage in stages:
        for other in stage.needs + stage.after:
            if f"-{other}" in log:
                assert log.index(f"-{other}") < log.index(f"+{stage.name}")


def test_whatever_is_waited_for_is_part_of_the_whole_plan() -> None:
    stages = [stage for phase in plan() for lane in phase for stage in lane]
    assert {name for stage in stages for name in stage.needs + stage.after} <= {stage.name for stage in stages}


def waits(stages: dict[str, Stage], name: str) -> set[str]:
    """All that has ended before a stage starts."""
    before = {*stages[name].needs, *stages[name].after}
    return before.union(*(waits(stages, other) for other in before))


def ended_before(stages: dict[str, Stage], name: str) -> set[str]:
    """The same, and what comes earlier in the lanes of all these."""
    lanes = {stage.name: [other.name for other in lane[: lane.index(stage)]] for lane in plan()[1] for stage in lane}
    before = waits(stages, name) | {*lanes[name]}
    return before.union(*(lanes[each] for each in before))


def test_no_scenario_changes_the_deployment_while_its_tests_run() -> None:
    lanes = [lane for lane in plan()[1] if lane[0].name.startswith("molecule-") and lane[0].after]
    assert len(lanes) == 5
    stages = {stage.name: stage for lane in plan()[1] for stage in lane}
    assert all("deployment" in waits(stages, stage.name) for lane in lanes for stage in lane)


def test_the_controller_is_away_only_while_nobody_else_needs_it() -> None:
    stages = {stage.name: stage for lane in plan()[1] for stage in lane}
    users = {f"molecule-{role}" for role in ("receiver", "readings", "kube_prometheus_stack", "karpenter")}
    assert users <= ended_before(stages, "molecule-load_balancer_controller")
    assert "molecule-load_balancer_controller" in stages["molecule-status"].after


def test_nobody_uses_the_stacks_kinds_while_its_scenario_takes_them_back() -> None:
    stages = {stage.name: stage for lane in plan()[1] for stage in lane}
    users = {f"molecule-{role}" for role in ("receiver", "readings", "karpenter")}
    assert users <= ended_before(stages, "molecule-kube_prometheus_stack")


def test_what_takes_longest_goes_first() -> None:
    lanes = [lane for phase in plan() for lane in phase if any(stage.first for stage in lane)]
    assert [[stage.name for stage in lane] for lane in lanes[:2]] == [["sandbox-up"], ["deployment"]]
    assert all(stage.after and stage.name.startswith("molecule-") for lane in lanes[2:] for stage in lane)


@pytest.mark.parametrize(("first", "niceness"), [(True, 0), (False, run.NICENESS)])
def test_a_stage_gives_way_unless_it_goes_first(
    first: bool, niceness: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "LOGS", tmp_path)
    session = f"grep -q ' {niceness}$' /proc/self/autogroup || ! test -e /proc/self/autogroup"
    script = f"until test $(nice) = {niceness or os.nice(0)} && ({session}); do sleep 0.1; done"
    status, _ = run.run(Stage("nice", "unit", ["bash", "-c", script], stages.one, first=first, limit=20))
    assert status == 0


def test_what_waits_for_nothing_planned_starts(log: list[str]) -> None:
    """Narrow targets leave out stages that others need."""
    [environments, *lanes] = unit_plan("sandbox")
    assert lanes[0][0][0].needs == ("environments-tests",)
    assert carried_out(environments, 1) + carried_out(lanes[0], 1) == 2


def test_only_unit_tests_of_every_part_leave_out_the_long_ones() -> None:
    phases = {"all": plan(), "part": unit_plan("service"), "unit": unit_plan(None)}
    leaving = {name for name, plan in phases.items() for phase in plan for lane in phase for stage in lane
               if "not long" in stage.command}
    assert leaving == {"unit"}


COLOURED = "fatal: [a]: first\n \x1b[31m│\x1b[0m fatal: [b]: =>\n │     msg: why"
PLAYBOOK = "AssertionError: end of an output&#10;fatal: [a]: no&#10;ok: [b]&#10;assert 2 == 0"
REPORT = f"""<testsuites><testsuite>
<testcase classname="tests.a" name="test_well"/>
<testcase classname="tests.a" name="test_left_out"><skipped message="no Helm"/></testcase>
<testcase classname="tests.a" name="test_wrong"><failure message="assert 1 == 2&#10; +  where">long</failure></testcase>
<testcase classname="tests.a" name="test_playbook"><failure message="{PLAYBOOK}"/></testcase>
</testsuite></testsuites>"""


@pytest.mark.parametrize(("counter", "status", "output", "count"), [
    (stages.junit, 1, "", Count(1, ["tests.a.test_wrong: assert 1 == 2",
                                    "tests.a.test_playbook: fatal: [a]: no ok: [b] assert 2 == 0"],
                                ["tests.a.test_left_out: no Helm"])),
    (stages.without_long, 1, "3 passed, 2 deselected in 9.00s",
     Count(1, ["tests.a.test_wrong: assert 1 == 2", "tests.a.test_playbook: fatal: [a]: no ok: [b] assert 2 == 0"],
           ["tests.a.test_left_out: no Helm", "2 long tests: make unit PART=report"])),
    (stages.one, 0, "error: none", Count(1)),
    (stages.one, 3, "fine", Count(0, ["ended with status 3"])),
    (stages.molecule, 2, COLOURED, Count(0, ["fatal: [b]: => msg: why"])),
    (stages.molecule, 0, "left out: needs a network\n", Count(0, [], ["needs a network"])),
    (stages.terraform, 1, '  run "a"... pass\n  run "b"... fail\nFailure! 1 passed, 1 failed.', Count(1, ['run "b"'])),
    (stages.terraform, 1, "Error: no provider", Count(0, ["Error: no provider"])),
])
def test_a_stage_names_what_failed(counter: Counter, status: int, output: str, count: Count, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert counter(status, report, output) == count


def test_a_run_that_ended_before_its_report_has_failed(tmp_path: Path) -> None:
    assert stages.junit(2, tmp_path / "none.xml", "") == Count(0, ["ended with status 2 before its report"])


FLAKY = """
def test_flaky(pytestconfig):
    assert pytestconfig.option.lf

def test_wrong():
    assert False

def test_right(pytestconfig):
    assert not pytestconfig.option.lf
"""


def test_a_few_failures_are_tried_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "LOGS", tmp_path)
    monkeypatch.setattr(run, "LOGS", tmp_path)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    for name in ("broken", "failures", "ended"):
        monkeypatch.setattr(run, name, type(getattr(run, name))())
    (tmp_path / "test_some.py").write_text(FLAKY)
    stage = stages.pytest("some", "unit", "controller", "test_some.py")
    first = run.carry_out(stage)
    assert (first.passed, len(first.failed)) == (1, 2)
    [second] = run.try_again()
    assert (second.passed, [failure.partition(" ")[2] for failure in second.failed]) == (
        1, ["test_some.test_wrong: assert False"])  # fmt: skip
    assert (len(first.failed_once), first.failed) == (2, [])
    assert run.try_again() == []


def test_many_failures_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stages.pytest("some", "unit", "controller", "test_some.py")
    monkeypatch.setattr(run, "failures", [(stage, Count(failed=["wrong"] * (run.FEW + 1)))])
    assert run.try_again() == []


ENDLESS = """
import pathlib, pytest, time

@pytest.fixture
def program():
    pathlib.Path("started").touch()
    yield
    pathlib.Path("ended").touch()

def test_endless(program):
    time.sleep(60)
"""


def test_a_stage_that_is_interrupted_ends_what_it_started(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(ENDLESS)
    process = subprocess.Popen([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_some.py"],
                               cwd=tmp_path, text=True, start_new_session=True)
    until((tmp_path / "started").exists, 30, "the test's start")
    run.end(process)
    assert process.returncode == 2  # https://docs.pytest.org/en/stable/reference/exit-codes.html
    assert (tmp_path / "ended").exists()
