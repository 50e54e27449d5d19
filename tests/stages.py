"""What `make test`, `make lint` and `make unit` run, and how the checks of each stage are counted."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.support.paths import ROOT

LOGS = ROOT / "build" / "test"


@dataclass
class Count:
    """How many checks of a stage passed, which failed, why others were skipped, and what was tried again."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    failed_once: list[str] = field(default_factory=list)


Counter = Callable[[int, Path, str], Count]


@dataclass(frozen=True)
class Stage:
    """A command, how its checks are counted, and what comes before it: what it needs has passed, the rest has ended."""

    name: str
    group: str
    command: list[str]
    count: Counter
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    limit: int = 1800  # seconds
    venvs: tuple[str, ...] = ("controller",)  # environments that it runs in
    folder: str = ""  # of its tests
    first: bool = False  # whether the stages beside it give way
    again: list[str] = field(default_factory=list)  # the command that repeats what failed


Lane = list[Stage]  # one after another
Phase = list[Lane]  # beside one another, the first that may start first


def last_error(output: str, *kinds: str) -> str:
    """The last line of an output that begins with the first of these words that any does, with what follows it."""
    text = re.sub(r"\x1b\[[\d;]*m", "", output)
    for kind in kinds:
        *_, last = None, *re.finditer(rf"^\W*({kind})", text, re.MULTILINE | re.IGNORECASE)
        if last:
            return " ".join(re.split(r"[\s\u2502]+", text[last.start(1) : last.start(1) + 500]))[:240]
    return ""


def one(status: int, _report: Path, output: str) -> Count:
    """A command that is one check; the last error that it printed says why it failed."""
    if status == 0:
        return Count(passed=1)
    return Count(failed=[last_error(output, "fatal:", "error:") or f"ended with status {status}"])


def junit(status: int, report: Path, _output: str) -> Count:
    """Pytest's own report; a run that ended before it wrote one has failed."""
    if not report.exists():
        return Count(failed=[f"ended with status {status} before its report"])
    count = Count()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - our own pytest wrote it
        name = f"{case.get('classname')}.{case.get('name')}"
        if (skipped := case.find("skipped")) is not None:
            count.skipped.append(f"{name}: {skipped.get('message')}")
        elif (error := case.find("failure")) is not None or (error := case.find("error")) is not None:
            message = error.get("message", "")
            count.failed.append(f"{name}: {last_error(message, 'fatal:') or message.partition(chr(10))[0][:240]}")
        else:
            count.passed += 1
    if status != 0 and not count.failed:
        count.failed.append(f"ended with status {status} although no test failed")
    return count


def without_long(status: int, report: Path, output: str) -> Count:
    """As `junit`; the long tests that the run left out are skipped."""
    count = junit(status, report, output)
    if left_out := re.search(r"(\d+) deselected", output):
        count.skipped.append(f"{left_out[1]} long tests: make unit PART={report.stem}")
    return count


def molecule(status: int, report: Path, output: str) -> Count:
    """A scenario is one check; what it leaves out is listed at the end."""
    left_out = re.search(r"left out: ([^\"'\n\x1b]+)", output)
    if status == 0 and left_out:
        return Count(skipped=[left_out[1]])
    return one(status, report, output)


def terraform(status: int, report: Path, output: str) -> Count:
    """`terraform test` names each run, and closes with «Success! 5 passed, 0 failed.»"""
    found = re.search(r"(\d+) passed, (\d+) failed", output)
    if not found or (status != 0 and found[2] == "0"):
        return one(status or 1, report, output)
    return Count(int(found[1]), re.findall(r'^\s*(run ".*")\.\.\..*fail', output, re.MULTILINE))


def place(venv: str) -> str:
    """The folder of one of the environments, from the root."""
    return ".venv" if venv == "controller" else f"build/venv/{venv}"


def python(venv: str) -> str:
    """The interpreter of one of the environments."""
    return str(ROOT / place(venv) / "bin" / "python")


def pytest(name: str, group: str, venv: str, folder: str, *, without: str = "", beside: tuple[str, ...] = (),
           needs: tuple[str, ...] = (), limit: int = 1800) -> Stage:
    """A stage that pytest runs in an environment; programs of the environments `beside` take part, too.

    A folder in it, `without`, is another stage's.
    """
    venvs = (venv, *beside)
    if venvs != ("controller",):
        needs += ("environments-tests",)
    command = [python(venv), "-m", "pytest", "-q", "-o", f"cache_dir={LOGS / f'{name}.cache'}",
               *([f"--ignore={without}"] if without else [])]
    again = [*command, f"--junit-xml={LOGS / f'{name}-again.xml'}", "--last-failed", "--last-failed-no-failures=none",
             folder]  # fmt: skip
    return Stage(name, group, [*command, f"--junit-xml={LOGS / f'{name}.xml'}", folder], junit, needs,
                 limit=limit, venvs=venvs, folder=folder, again=again)


def mypy(name: str, venv: str, *paths: str) -> Stage:
    """A stage that checks types against the libraries of one environment."""
    command = [python("controller"), "-m", "mypy", f"--python-executable={python(venv)}", *paths]
    return Stage(f"types-{name}", "lint", command, one)


def scenario(role: str, *after: str) -> Stage:
    """A stage for a role's molecule scenario."""
    command = ["bash", "-c", f"cd roles/{role} && exec molecule test"]
    return Stage(f"molecule-{role}", "deployment", command, molecule, ("sandbox-up",), after, first=bool(after),
                 again=command)  # fmt: skip


def style() -> Lane:
    """Checks of style."""
    return [
        Stage("ruff", "lint", ["ruff", "check", "."], one),
        Stage("yamllint", "lint", ["yamllint", "--strict", "."], one),
        Stage("ansible-lint", "lint", ["ansible-lint"], one),
        Stage("docs", "lint", [python("controller"), "-m", "tests.docs"], one),
        Stage("english", "lint", [python("controller"), "-m", "tests.repository.english"], one),
        Stage("terraform-fmt", "lint", ["terraform", "fmt", "-check", "-recursive", "terraform"], one),
    ]


def types() -> Lane:
    """Types, against the libraries that the code runs with."""
    return [
        mypy("service", "service-test",
             "service/iot_receiver", "service/iot_readings", "tests/service", "tests/readings"),
        mypy("device", "device-test", "device/iot_device", "tests/device"),
        mypy("sandbox", "sandbox-test",
             "sandbox/iot_sandbox", "sandbox/roles/program_builds/files/sandbox_build", "tests/sandbox"),
        mypy("deployment", "sandbox-test", "tests/deployment", "tests/soak", "tests/torn_down", "tests/leftovers",
             "tests/local_service"),
        mypy("benchmarks", "benchmark", "tests/benchmarks"),
        mypy("collection", "controller", "collections", "tests/collection"),
        mypy("machine", "controller", "tests/machine"),
        mypy("charts", "controller", "tests/charts"),
        mypy("monitoring", "controller", "tests/monitoring"),
        mypy("tests", "controller",
             "tests/run.py", "tests/stages.py", "tests/docs.py", "tests/support", "tests/templates",
             "tests/playbooks", "tests/repository", "requirements/kept_bytecode.py", "requirements/module_client.py"),
    ]


def units() -> dict[str, Stage]:
    """What needs no sandbox, except the programs that its roles install; the long ones first."""
    both = ("sandbox-test",)
    stages = [
        pytest("aws_iot", "unit", "controller", "tests/collection/aws_iot", beside=both),
        pytest("sandbox", "unit", "sandbox-test", "tests/sandbox"),
        pytest("service", "unit", "service-test", "tests/service"),
        pytest("collection", "unit", "controller", "tests/collection", without="tests/collection/aws_iot", beside=both),
        Stage("terraform", "unit", ["tests/terraform/run"], terraform),
        pytest("device", "unit", "device-test", "tests/device"),
        pytest("playbooks", "unit", "controller", "tests/playbooks"),
        pytest("charts", "unit", "controller", "tests/charts"),
        pytest("readings", "unit", "service-test", "tests/readings"),
        pytest("local_service", "unit", "sandbox-test", "tests/local_service", beside=("controller",)),
        pytest("machine", "unit", "controller", "tests/machine", beside=both),
        pytest("templates", "unit", "controller", "tests/templates"),
        pytest("monitoring", "unit", "controller", "tests/monitoring"),
        pytest("repository", "unit", "controller", "tests/repository"),
    ]
    return {stage.name: stage for stage in stages}


def scenarios() -> tuple[Lane, list[Lane]]:
    """Scenarios that do not change the deployment, then lanes of those that change the same part of it."""
    apart = ["terraform", "deployment_facts", "preflight", "helm_release", "receiver_image"]
    way = ["receiver", "shared_secret", "dead_letters", "iot_core", "verify"]  # a reading's
    cluster = ["karpenter", "readings"]
    # One takes back kinds that the others use; while the other is away, nobody's Service or Ingress is admitted.
    charts = ["kube_prometheus_stack", "load_balancer_controller"]
    roles = sorted(path.parents[2].name for path in ROOT.glob("roles/*/molecule/default/molecule.yml"))
    others = [role for role in roles if role not in [*apart, *way, *cluster, *charts, "status"]]
    return ([scenario(role) for role in apart],
            [*([scenario(role, "deployment") for role in lane] for lane in (way, cluster, others)),
             [scenario(role, "molecule-receiver", f"molecule-{cluster[-1]}") for role in charts],
             [scenario("status", *(f"molecule-{lane[-1]}" for lane in (way, others, charts)))]])


def environments(name: str, *venvs: str) -> Stage:
    """A stage that installs what lock files name; each group of stages needs it."""
    return Stage(name, "environments", ["make", "-j2", *(f"{place(venv)}/installed" for venv in venvs)], one)


LEFT_OUT = "left out: tests/torn_down, which takes ten minutes more: make torn-down on a sandbox that is up"
TESTS = ("service-test", "device-test", "sandbox-test", "benchmark")


def lint_plan() -> list[Phase]:
    """Style and types."""
    return [[[environments("environments", "controller")]],
            [[environments("environments-tests", *TESTS), *types()], *([stage] for stage in style()),
             [units()["repository"]]]]


def unit_plan(part: str | None) -> list[Phase]:
    """The unit tests of a part, or those of all parts that are not long, with the environments that they need."""
    stages = [units()[part]] if part else [
        replace(stage, command=[*stage.command, "-m", "not long"], count=without_long) if stage.folder else stage
        for stage in units().values()
    ]  # fmt: skip
    venvs = dict.fromkeys(venv for stage in stages for venv in stage.venvs)
    return [[[environments("environments", *venvs)]], [[stage] for stage in stages]]


def plan() -> list[Phase]:
    """Everything. Sandbox, deployment's tests and scenarios follow each other and take longest; the rest gives way."""
    apart, beside = scenarios()
    unit = units()
    # The others need programs of the sandbox's roles.
    early = ("aws_iot", "collection", "terraform", "templates", "repository")
    return [
        [[environments("environments", "controller")]],
        [
            [Stage("sandbox-up", "deployment", ["make", "sandbox"], one, limit=2700, first=True)],
            [replace(pytest("deployment", "deployment", "sandbox-test", "tests/deployment", needs=("sandbox-up",),
                            limit=3600), first=True)],
            *beside,
            [environments("environments-tests", *TESTS), *types()],
            *([stage] for stage in style()),
            *([unit[name]] for name in early),
            *([replace(stage, after=("sandbox-up",))] for name, stage in unit.items() if name not in early),
            *([stage] for stage in apart),
        ],
        [[
            Stage("torn-down", "deployment", ["echo", LEFT_OUT], molecule),
            Stage("sandbox-down", "deployment", ["make", "sandbox-down"], one),
            pytest("leftovers", "deployment", "sandbox-test", "tests/leftovers"),
        ]],
    ]
