"""A build that outlives whoever started it, and how others find out about it.

A lock held by the process, not its recorded id, says whether it runs: the kernel drops it however that ends.
"""

import fcntl
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import artifacts
from .command import BuildError
from .compile import Build
from .plan import Inputs, Places, Plan
from .status import State, Status
from .toolchain import ToolchainError

START_TIMEOUT = 15.0  # seconds
STOP_TIMEOUT = 10.0
LOOK = 2.0  # those who ask `running` hold the lock for an instant themselves
LOG_TAIL = 15  # lines


class Busy(Exception):  # noqa: N818  not an error: someone else is at it
    """Another process holds the lock."""


@contextmanager
def locked(file: Path, *, patience: float = 0) -> Iterator[None]:
    """Hold a lock, at most as long as the process lives. Raises Busy after `patience` seconds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    give_up = time.monotonic() + patience
    with file.open("a") as held:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= give_up:
                    raise Busy(str(file)) from error
            time.sleep(0.02)
        yield


def running(work: Path) -> bool:
    """Say whether a build is at work in this folder."""
    try:
        with locked(work / "lock"):
            return False
    except Busy:
        return True


def start(places: Places, inputs: Inputs, candidates: list[Path]) -> bool:
    """Start a build in the background unless it runs or is complete; say whether it was started.

    `candidates` are the Go commands to try before one is installed. Raises BuildError if the process
    ends before it has said how it fares; a failure that it has told is for those who wait.
    """
    if places.complete.exists() or running(places.work):
        return False
    inputs.copy_to(places)
    Status(work="waiting for its turn").write(places.status)
    command = [sys.executable, "-m", "sandbox_build", "run", f"--cache={places.cache}"]
    command += [f"--digest={places.digest}", *(f"--go={go}" for go in candidates)]
    with places.log.open("a") as log:
        process = subprocess.Popen(
            command, cwd=places.work, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    (places.work / "pid").write_text(f"{process.pid}\n")
    give_up = time.monotonic() + START_TIMEOUT
    while not running(places.work):
        ended = process.poll() is not None
        if ended and not places.complete.exists() and Status.read(places.status).state is State.RUNNING:
            raise BuildError(f"The build ended at once: see {places.log}")
        if ended or time.monotonic() > give_up:
            break
        time.sleep(0.05)
    return True


def run(places: Places, candidates: list[Path]) -> int:
    """Build in this process, and leave the outcome in the status. Returns the exit status."""
    plan = Plan.read(places.plan)
    os.nice(plan.niceness)  # the other parts of the sandbox set themselves up in the meantime, and are soon done
    with (
        locked(places.work / "lock", patience=LOOK),
        places.log.open("a", buffering=1) as log,
        locked(places.work.parent / "lock", patience=math.inf),  # one cache, one machine's memory
    ):
        shutil.rmtree(places.scratch, ignore_errors=True)
        build = Build(plan, places, log)
        try:
            build.run(candidates)
            active = {work.name for work in places.work.parent.glob("*/") if running(work)}
            artifacts.prune(places.cache, keep=active | {places.digest})
        except (BuildError, ToolchainError) as error:
            build.report(State.FAILED, message=str(error))
            return 1
        except Exception as error:  # noqa: BLE001  the one place that tells a waiting Ansible
            log.write(traceback.format_exc())
            build.report(State.FAILED, message=f"{type(error).__name__}: {error}")
            return 1
        return 0


def wait(places: Places, programs: list[str], seconds: float) -> Status:
    """Wait for programs, or for everything, as long as told; return how far the build is by then.

    Raises KeyError when the plan has no such program.
    """
    give_up = time.monotonic() + seconds
    while True:
        alive = running(places.work)  # looked at first: what is not there once it is gone will never be
        status = Status.read(places.status)
        if places.complete.exists() or (programs and places.ready(programs)):
            status.state = State.READY
        elif status.state is not State.FAILED and not alive:
            status.state = State.STOPPED
            status.message = "The build was stopped: start again, it goes on from where it was."
        if status.state is not State.RUNNING or time.monotonic() > give_up:
            return status
        time.sleep(0.3)


def stop(cache: Path) -> list[int]:
    """End every build below the cache, and return the process ids. What was compiled stays."""
    stopped = []
    for work in cache.glob("build/*/"):
        if not running(work):
            continue
        process = int((work / "pid").read_text())
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(process, number)
            give_up = time.monotonic() + STOP_TIMEOUT
            while running(work) and time.monotonic() < give_up:
                time.sleep(0.1)
            if not running(work):
                break
        stopped.append(process)
    return stopped


def log_tail(places: Places) -> list[str]:
    """Return the last lines of the log that say something: not the names of compiled packages."""
    lines = places.log.read_text(errors="replace").splitlines() if places.log.exists() else []
    return [line for line in lines if " " in line][-LOG_TAIL:]
