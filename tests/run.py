"""Runs every check of the project and ends with a line that counts them.

    python3 tests/run.py [--only lint|unit|deployment]

Needs nothing but Python's standard library: it makes the environments that the checks run in, one
per lock file. A stage's output goes to build/test/<stage>.log; what failed is named with that file.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "build" / "test"
STATE = Path("/var/lib/iot-receiver-sandbox")


@dataclass
class Count:
    """How many checks of a stage passed, failed, and were left out with which reasons."""

    passed: int = 0
    failed: int = 0
    skipped: list[str] = field(default_factory=list)


Counter = Callable[[int, Path, str], Count]


@dataclass(frozen=True)
class Stage:
    """A command, how its checks are counted, and the stage without which it makes no sense."""

    name: str
    group: str
    command: list[str]
    count: Counter
    needs: str = ""
    limit: int = 900  # seconds


def one(status: int, _report: Path, _output: str) -> Count:
    """A command that is one check."""
    return Count(passed=int(status == 0), failed=int(status != 0))


def junit(status: int, report: Path, _output: str) -> Count:
    """Pytest's own report; a run that broke off before it wrote one has failed."""
    if not report.exists():
        return Count(failed=1)
    count = Count()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own pytest wrote it
        skipped = case.find("skipped")
        if skipped is not None:
            count.skipped.append(f"{case.get('classname')}.{case.get('name')}: {skipped.get('message')}")
        elif case.find("failure") is not None or case.find("error") is not None:
            count.failed += 1
        else:
            count.passed += 1
    if status != 0 and count.failed == 0:
        count.failed = 1
    return count


def terraform(status: int, _report: Path, output: str) -> Count:
    """`terraform test` closes with «Success! 5 passed, 0 failed.»"""
    found = re.search(r"(\d+) passed, (\d+) failed", output)
    if not found or (status != 0 and found[2] == "0"):
        return Count(failed=1)
    return Count(passed=int(found[1]), failed=int(found[2]))


def python(venv: str) -> str:
    """The interpreter of one of the environments."""
    return str(ROOT / (".venv" if venv == "controller" else f"build/venv/{venv}") / "bin" / "python")


def pytest(name: str, group: str, venv: str, *paths: str, needs: str = "", limit: int = 900) -> Stage:
    """A stage that pytest runs."""
    report = f"--junit-xml={LOGS / f'{name}.xml'}"
    return Stage(name, group, [python(venv), "-m", "pytest", "-q", report, *paths], junit, needs, limit)


def mypy(name: str, venv: str, *paths: str) -> Stage:
    """A stage that checks types against the libraries of one environment."""
    command = [python("controller"), "-m", "mypy", f"--python-executable={python(venv)}", *paths]
    return Stage(f"types-{name}", "lint", command, one)


def scenarios() -> list[Stage]:
    """A stage for every role's molecule scenario."""
    found = sorted(path.parent.parent.parent for path in ROOT.glob("roles/*/molecule/default/molecule.yml"))
    return [
        Stage(f"molecule-{role.name}", "deployment",
              ["bash", "-c", f"cd roles/{role.name} && exec molecule test"], one, needs="sandbox")
        for role in found
    ]


def stages() -> list[Stage]:
    """All there is to run, in order: the cheap first."""
    venvs = ["service-test", "device-test", "sandbox-test"]
    return [
        Stage("environments", "lint", ["make", *(f"build/venv/{venv}/installed" for venv in venvs)], one),
        Stage("ruff", "lint", ["ruff", "check", "."], one),
        Stage("yamllint", "lint", ["yamllint", "--strict", "."], one),
        Stage("ansible-lint", "lint", ["ansible-lint"], one),
        Stage("docs", "lint", [python("controller"), "tests/docs.py"], one),
        Stage("terraform-fmt", "lint", ["terraform", "fmt", "-check", "-recursive", "terraform"], one),
        mypy("service", "service-test", "service/iot_receiver", "tests/service"),
        mypy("device", "device-test", "device/iot_device", "tests/device"),
        mypy("sandbox", "sandbox-test",
             "sandbox/iot_sandbox", "sandbox/roles/build/files/sandbox_build", "tests/sandbox"),
        mypy("deployment", "sandbox-test", "tests/deployment", "tests/leftovers"),
        mypy("collection", "controller", "collections", "tests/collection"),
        mypy("machine", "controller", "tests/machine"),
        mypy("tests", "controller", "tests/run.py", "tests/docs.py", "tests/templates"),
        pytest("service", "unit", "service-test", "tests/service"),
        pytest("device", "unit", "device-test", "tests/device"),
        pytest("emulation", "unit", "sandbox-test", "tests/sandbox"),
        pytest("machine", "unit", "controller", "tests/machine"),
        pytest("templates", "unit", "controller", "tests/templates"),
        pytest("collection", "unit", "controller", "tests/collection"),
        Stage("terraform", "unit", ["tests/terraform/run"], terraform),
        Stage("sandbox", "deployment", ["make", "sandbox"], one, limit=2700),
        pytest("deployment", "deployment", "sandbox-test", "tests/deployment", needs="sandbox", limit=1800),
        *scenarios(),
        Stage("sandbox-down", "deployment", ["make", "sandbox-down"], one),
        pytest("leftovers", "deployment", "sandbox-test", "tests/leftovers"),
    ]


def run(stage: Stage) -> tuple[int, str]:
    """Run a stage to its end or limit; its children end with it. Returns the status and the output."""
    log = LOGS / f"{stage.name}.log"
    path = f"{ROOT}/.venv/bin:{os.environ['PATH']}"
    with log.open("w+") as output:
        process = subprocess.Popen(stage.command, cwd=ROOT, env=os.environ | {"PATH": path},
                                   stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            status = process.wait(timeout=stage.limit)
        except subprocess.TimeoutExpired:
            output.write(f"\nstopped after {stage.limit} s\n")
            status = 124
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
    return status, log.read_text(errors="replace")


def refuse_beside_another_sandbox() -> None:
    """Its ports, addresses and namespaces are the machine's: there is room for one."""
    owner = STATE / "owner"
    if owner.exists():
        sys.exit(f"A sandbox is up, started from {owner.read_text().strip()}: "
                 "end it with `make sandbox-down`, then run `make test` again.")


def report(stage: Stage, count: Count, seconds: float) -> None:
    """One aligned line, and for a failure the log's end and where to read on."""
    print(f"  {stage.name:<36}{count.passed:>4} passed {count.failed:>3} failed "
          f"{len(count.skipped):>3} skipped {seconds:>6.0f} s", flush=True)
    if count.failed:
        tail = (LOGS / f"{stage.name}.log").read_text(errors="replace").splitlines()[-40:]
        print("\n".join(f"    | {line}" for line in tail))
        print(f"    more: less build/test/{stage.name}.log", flush=True)


def carry_out(stage: Stage, broken: set[str]) -> Count:
    """Run and report a stage, unless what it needs has failed."""
    started = time.monotonic()
    (LOGS / f"{stage.name}.xml").unlink(missing_ok=True)
    if stage.needs in broken:
        (LOGS / f"{stage.name}.log").write_text(f"not run, because {stage.needs} failed\n")
        count = Count(failed=1)
    else:
        status, output = run(stage)
        count = stage.count(status, LOGS / f"{stage.name}.xml", output)
    if count.failed:
        broken.add(stage.name)
    report(stage, count, time.monotonic() - started)
    return count


def main() -> int:
    """Run the stages; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=["lint", "unit", "deployment"], help="one group of stages")
    only = parser.parse_args().only
    if only in (None, "deployment"):
        refuse_beside_another_sandbox()
    LOGS.mkdir(parents=True, exist_ok=True)
    broken: set[str] = set()
    first, *rest = stages()
    counts = [carry_out(first, broken)]
    # The deployment comes before the units: it installs the broker, HAProxy and Java that they run.
    for group, workers in (("lint", 2), ("deployment", 1), ("unit", 2)):
        if only not in (None, group):
            continue
        with ThreadPoolExecutor(max_workers=workers) as pool:
            counts += pool.map(lambda stage: carry_out(stage, broken), [s for s in rest if s.group == group])
    passed, failed = sum(c.passed for c in counts), sum(c.failed for c in counts)
    skipped = [reason for count in counts for reason in count.skipped]
    for reason in skipped:
        print(f"  left out: {reason}")
    print(f"{passed} passed, {failed} failed, {len(skipped)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
