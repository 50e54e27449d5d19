"""The sandbox roles' Ansible modules, run as Ansible runs them but without a playbook around them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    """Namespaces, mounts and control groups are root's."""
    assert os.geteuid() == 0, "These tests make network namespaces and mounts: run them as root."


@pytest.fixture
def module(tmp_path: Path) -> Run:
    """Run a module; its result, with `failed` and `msg` where it fails."""

    def run(name: str, check: bool = False, **arguments: Any) -> dict[str, Any]:
        (path,) = ROOT.glob(f"sandbox/roles/*/library/{name}.py")
        file = tmp_path / "arguments.json"
        file.write_text(json.dumps({"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": check}}))
        done = subprocess.run([sys.executable, path, file], capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run
