"""What hangs on compiled programs: modules completed with generated files, names that stay, and what is removed."""

import os
from pathlib import Path

from sandbox_build import artifacts
from sandbox_build.plan import Places, Plan, Program


def test_a_module_gets_the_files_it_lacks(tmp_path: Path) -> None:
    module, places = tmp_path / "cache/m@v1", Places(tmp_path, "d")
    module.mkdir(parents=True)
    (module / "main.go").write_text("package main\n")
    for folder in (places.source, places.completed):
        folder.mkdir(parents=True)
    (places.source / "go.mod").write_text("module test\n")
    (places.source / "go.sum").write_text("sum\n")
    program = Program("p", "P", "example.test/m", {}, generated={"example.test/m": {"ui/dist/index.html": "page"}})
    for _ in range(2):  # the packages are listed before they are compiled
        [argument] = artifacts.complete(places, program, {"example.test/m": module})
    file = Path(argument.removeprefix("-modfile="))
    assert file.read_text().startswith("module test\nreplace example.test/m => ")
    copy = Path(file.read_text().split()[-1])
    assert (copy / "main.go").exists()
    assert (copy / "ui/dist/index.html").read_text() == "page"
    assert file.with_suffix(".sum").read_text() == "sum\n"
    assert [path.name for path in module.iterdir()] == ["main.go"]


def test_a_whole_module_is_taken_as_it_is(tmp_path: Path) -> None:
    assert artifacts.complete(Places(tmp_path, "d"), Program("p", "P", "example.test/m", {}), {}) == []


def test_what_is_in_use_under_any_name_stays(tmp_path: Path) -> None:
    for age, (digest, name) in enumerate({"a": "", "b": "current", "c": "monitoring", "d": "", "e": ""}.items()):
        places = Places(tmp_path, digest)
        for folder in (places.programs, places.images, places.charts, places.work):
            folder.mkdir(parents=True)
        os.utime(places.work, (age, age))
        if name:
            artifacts.make_current(places, name)
    artifacts.prune(tmp_path, keep={"d"})
    for kind in ("bin", "images", "charts", "build"):
        left = {path.name for path in (tmp_path / kind).iterdir() if not path.is_symlink()}
        assert left == {"b", "c", "d", "e"}, kind
    assert (tmp_path / "bin/monitoring").resolve().name == "c"


def test_a_plan_says_how_it_is_called_and_gives_way() -> None:
    empty: dict[str, object] = {"programs": [], "images": [], "charts": []}
    assert (Plan.parse(empty).link, Plan.parse(empty).niceness) == ("current", 5)
    other = Plan.parse(empty | {"link": "monitoring", "niceness": 15})
    assert (other.link, other.niceness) == ("monitoring", 15)
