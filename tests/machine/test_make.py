"""What `make` says to those who are not root, before it does anything."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where `id` says that nobody is root, and a Python cannot make environments."""
    for name, script in {"id": "echo 1000", "bare-python": 'case "$2" in *ensurepip*) exit 1; esac'}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def make(folder: Path, *arguments: str) -> str:
    """What make says; it must fail, and has nothing here to begin with."""
    command = ["make", "--no-print-directory", "-C", str(folder), "-f", str(ROOT / "Makefile"), *arguments]
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode
    return done.stdout


@pytest.mark.parametrize("goal", ["sandbox", "sandbox-down", "test"])
def test_what_needs_root_says_so_at_once(folder: Path, goal: str) -> None:
    assert make(folder, goal).splitlines() == [
        f"The sandbox makes namespaces and containers and so needs root: sudo -E make {goal}"
    ]


def test_packages_are_left_to_root(folder: Path) -> None:
    assert make(folder, "python", "PYTHON=bare-python").splitlines() == [
        "bare-python cannot make environments: sudo apt-get install python3-venv, then make python again"
    ]


@pytest.mark.parametrize(("arguments", "line"), [
    (["molecule", "ROLE=nothing"], "Which role? make molecule ROLE=one of: "),
    (["molecule", "ROLE=receiver", "SANDBOX=/nowhere"],
     "No sandbox is up: make sandbox, then make molecule ROLE=receiver again"),
    (["soak", "SANDBOX=/nowhere"], "No sandbox is up: make sandbox, then make soak again"),
    (["unit", "PART=nothing"], ""),
    (["unit", "T=tests/nowhere"], ""),
])
def test_what_cannot_run_says_so_in_one_line(arguments: list[str], line: str) -> None:
    done = subprocess.run(["make", "--no-print-directory", "-C", str(ROOT), *arguments],
                          capture_output=True, text=True, check=False)
    assert done.returncode
    assert len(done.stdout.splitlines()) == bool(line)
    assert done.stdout.startswith(line)
