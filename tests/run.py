"""Runs every check of the project and ends with a line that counts them.

    python3 -m tests.run [--only lint|unit] [--part service] [--tests "tests/service/test_ingest.py -k secret"]

Needs nothing but Python's standard library: it makes the environments that the checks run in, one
per lock file. A stage's output goes to build/test/<stage>.log; what failed is named with that file.
A few failures in a run of everything are tried once more, alone on the machine; both outcomes are shown.
"""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from tests.stages import LOGS, Count, Phase, Stage, lint_plan, molecule, place, plan, python, unit_plan, units
from tests.support import forks
from tests.support.paths import ROOT, STATE

OWNER = STATE / "owner"
SUPERVISOR = STATE / "supervisor" / "supervisor.sock"
FIRST = 3  # stages at a time to which others give way: as many lanes of scenarios do not disturb each other
BESIDE = 3  # others at a time
WORKERS = 5  # at a time on two cores where none goes first: most wait more than they compute
NICENESS = 10  # of the others
FEW = 5  # failures of a stage that may come from what ran beside it; more are its own
running: set[subprocess.Popen[str]] = set()
stopping = threading.Event()
broken: set[str] = set()
failures: list[tuple[Stage, Count]] = []
ended: set[str] = set()
progress = threading.Condition()  # of `ended`


def answers(path: Path) -> bool:
    """Whether a program listens on a Unix socket: after a restart of the machine its file is left without one."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def refuse_beside_another_sandbox() -> None:
    """Exit if a sandbox is up: its ports, addresses and namespaces are the machine's, so only one fits."""
    if OWNER.exists() and answers(SUPERVISOR):
        sys.exit(f"A sandbox is up, started from {OWNER.read_text().strip()}: "
                 "end it with `make sandbox-down`, then run `make test` again.")


def end(process: subprocess.Popen[str]) -> None:
    """End a stage with its children: SIGINT lets pytest's fixtures end what they started."""
    for number, seconds in ((signal.SIGINT, 60), (signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return


def interrupted(_signal: int, _frame: FrameType | None) -> None:
    """End the running stages, start no other, and say what may be left."""
    stopping.set()
    while running:
        for process in list(running):
            end(process)
            running.discard(process)
    print("interrupted" + (": `make sandbox-down` ends the sandbox" if OWNER.exists() else ""), flush=True)
    os._exit(130)


def give_way(process: subprocess.Popen[str]) -> None:
    """Lower the priority of a stage; where Linux groups tasks by session, only the group's counts: see sched(7)."""
    with suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PGRP, process.pid, NICENESS)
    with suppress(OSError):
        Path(f"/proc/{process.pid}/autogroup").write_text(str(NICENESS))


def run(stage: Stage) -> tuple[int, str]:
    """Run a stage to its end or limit; its children end with it. Returns the status and the output."""
    log = LOGS / f"{stage.name}.log"
    environment = os.environ | {"PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"}
    if stage.count is molecule:
        environment |= forks.server(ROOT / ".venv")
    with log.open("w+") as output:
        process = subprocess.Popen(stage.command, cwd=ROOT, env=environment, text=True,
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        running.add(process)
        if not stage.first:
            give_way(process)
        try:
            status = process.wait(timeout=stage.limit)
        except subprocess.TimeoutExpired:
            output.write(f"\nstopped after {stage.limit} s\n")
            status = 124
            end(process)
        running.discard(process)
    return status, log.read_text(errors="replace")


def report(stage: Stage, count: Count, seconds: float) -> None:
    """Print one aligned line, and for a failure the end of its log and where the rest is."""
    text = (f"  {stage.name:<36}{count.passed:>4} passed {len(count.failed):>3} failed "
            f"{len(count.skipped):>3} skipped {seconds:>6.0f} s")
    if count.failed:
        tail = (LOGS / f"{stage.name}.log").read_text(errors="replace").splitlines()[-40:]
        text += "".join(f"\n    | {line}" for line in tail) + f"\n    more: less build/test/{stage.name}.log"
    print(text, flush=True)


def carry_out(stage: Stage) -> Count:
    """Run and report a stage, unless what it needs has failed."""
    started = time.monotonic()
    (LOGS / f"{stage.name}.xml").unlink(missing_ok=True)
    if missing := broken.intersection(stage.needs):
        (LOGS / f"{stage.name}.log").write_text(f"not run, because {', '.join(sorted(missing))} failed\n")
        count = Count(failed=[f"not run, because {', '.join(sorted(missing))} failed"])
    else:
        status, output = run(stage)
        count = stage.count(status, LOGS / f"{stage.name}.xml", output)
    if count.failed:
        broken.add(stage.name)
        failures.append((stage, count))
    count.failed = [f"{stage.name}: {failure}" for failure in count.failed]
    report(stage, count, time.monotonic() - started)
    with progress:
        ended.add(stage.name)
        progress.notify_all()
    return count


def carry_out_lanes(lanes: Phase, planned: frozenset[str], first: bool) -> list[Count]:
    """Run lanes of one kind and take them off the list until none is left.

    The next is the first that waits for nothing planned.
    """
    counts: list[Count] = []
    while True:
        with progress:
            ours = [lane for lane in lanes if lane[0].first is first]
            if not ours:
                return counts
            lane = next((each for each in ours if ended >= planned.intersection(each[0].needs + each[0].after)), None)
            if lane is None:
                progress.wait()
                continue
            lanes.remove(lane)
        counts += [carry_out(stage) for stage in lane if not stopping.is_set()]


def try_again() -> list[Count]:
    """Try the few failures of a stage once more, with nothing beside it; the second attempt counts."""
    counts = []
    for stage, count in failures.copy():
        if stage.again and len(count.failed) <= FEW and not broken.intersection(stage.needs):
            counts.append(carry_out(replace(stage, name=f"{stage.name}-again", command=stage.again, again=[])))
            count.failed_once, count.failed = count.failed, []
    failures.clear()
    return counts


def some_tests(tests: str) -> NoReturn:
    """Become pytest with these arguments, in the environment of the part that the first one's path belongs to."""
    arguments = shlex.split(tests)
    part = next((stage for stage in units().values()
                 if stage.folder and f"{arguments[0]}/".startswith(f"{stage.folder}/")), None)
    if part is None:
        sys.exit(f"{arguments[0]} is in no folder of unit tests: "
                 f"begin with one of {', '.join(stage.folder for stage in units().values() if stage.folder)}")
    if subprocess.call(["make", *(f"{place(venv)}/installed" for venv in part.venvs)], cwd=ROOT):
        sys.exit(1)  # make has said why
    os.environ["PATH"] = f"{ROOT}/.venv/bin:{os.environ['PATH']}"
    program = python(part.venvs[0])
    os.execv(program, [program, "-m", "pytest", *arguments])  # noqa: S606 - no shell is wanted


def phases(only: str | None, part: str | None) -> list[Phase]:
    """The phases to run."""
    if only == "lint":
        return lint_plan()
    if only == "unit" or part:
        return unit_plan(part)
    return plan()


def main() -> int:
    """Run the stages; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=["lint", "unit"], help="one group of stages")
    parser.add_argument("--part", choices=[*units()], help="the unit tests of one part")
    parser.add_argument("--tests", metavar='"PATH [OPTION…]"', help="arguments for pytest: a path of unit tests first")
    options = parser.parse_args()
    if options.tests:
        some_tests(options.tests)
    whole = not (options.only or options.part)
    if whole:
        refuse_beside_another_sandbox()
    LOGS.mkdir(parents=True, exist_ok=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    counts: list[Count] = []
    for phase in phases(options.only, options.part):
        planned = frozenset(stage.name for lane in phase for stage in lane)
        with ThreadPoolExecutor(FIRST + WORKERS) as pool:
            kinds = [True] * FIRST + [False] * (BESIDE if any(lane[0].first for lane in phase) else WORKERS)
            for of_one in pool.map(partial(carry_out_lanes, phase, planned), kinds):
                counts += of_one
        if whole:
            counts += try_again()
        if "environments" in broken:
            break
    skipped = [reason for count in counts for reason in count.skipped]
    once = [failure for count in counts for failure in count.failed_once]
    failed = [failure for count in counts for failure in count.failed]
    for what, lines in (("left out", skipped), ("failed, tried again", once), ("failed", failed)):
        print("".join(f"  {what}: {line}\n" for line in lines), end="")
    print(f"{sum(count.passed for count in counts)} passed, {len(failed)} failed, {len(skipped)} skipped"
          + (f", {len(once)} tried again" if once else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
