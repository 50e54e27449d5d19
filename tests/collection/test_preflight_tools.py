"""Role preflight's look at the programs that a run will call."""

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.iotweb.deployment.plugins.modules import preflight_tools

BUILDERS = "docker|podman|buildah"
NEEDS = {"docker": ["buildx", "version"]}
HELM = 'version.BuildInfo{Version:"v%s", GitCommit:"abc", GoVersion:"go1.24.1"}'


@pytest.fixture(name="path", autouse=True)
def _path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH, but for the shell's own programs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(path: Path, name: str, text: str) -> None:
    """A program that a shell runs."""
    (path / name).write_text(f"#!/bin/sh\n{text}\n")
    (path / name).chmod(0o755)


def fault(names: str, **wanted: dict[str, Any]) -> str | None:
    settings: dict[str, Any] = {"minimums": {}, "below": {}, "needs": {}, "fixes": {names: "The fix."}}
    return preflight_tools.program_fault(names, settings | wanted)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("3.13.3", "helm 3.14 or newer is needed; 3.13.3 was found. The fix."),
        ("3.14.0", None),
        ("3.19.2", None),
        ("4.0.0", "helm older than 4 is needed; 4.0.0 was found. The fix."),
        ("4.2.2", "helm older than 4 is needed; 4.2.2 was found. The fix."),
    ],
)
def test_helm_is_neither_too_old_nor_too_new(path: Path, version: str, said: str | None) -> None:
    program(path, "helm", f"echo '{HELM % version}'")
    assert fault("helm", minimums={"helm": "3.14"}, below={"helm": "4"}) == said


def test_helm_4_is_accepted_where_nothing_forbids_it(path: Path) -> None:
    program(path, "helm", f"echo '{HELM % '4.2.2'}'")
    assert fault("helm", minimums={"helm": "3.14"}) is None


def test_docker_needs_buildx_unless_another_builder_is_there(path: Path) -> None:
    assert fault(BUILDERS, needs=NEEDS) == "docker or podman or buildah is not on this machine's PATH. The fix."
    program(path, "docker", 'test "$1" != buildx')
    assert fault(BUILDERS, needs=NEEDS) == "docker does not know buildx. The fix."
    program(path, "podman", "exit 0")
    assert fault(BUILDERS, needs=NEEDS) is None


def test_docker_with_buildx_is_enough(path: Path) -> None:
    program(path, "docker", 'test "$*" = "buildx version"')
    assert fault(BUILDERS, needs=NEEDS) is None


def test_a_program_that_prints_no_version_is_named(path: Path) -> None:
    program(path, "terraform", "exit 1")
    assert fault("terraform", minimums={"terraform": "1.9"}) == (
        "terraform 1.9 or newer is needed; an unknown version was found. The fix."
    )
