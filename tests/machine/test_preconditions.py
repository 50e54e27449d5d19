"""All faults of a machine are reported at once, each with its fix."""

import socket
from pathlib import Path
from typing import Any

import pytest

from tests.machine.conftest import Run


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    """What any machine that runs these tests has."""
    return {
        "state_dir": str(tmp_path / "state"),
        "cache_dir": str(tmp_path / "cache"),
        "owner": "/checkout",
        "cgroup": "preconditions-test",
        "link": "precond0",
        "memory_mib": 1,
        "disk_gib": 0,
        "disk_built_gib": 0,
        "listeners": [],
        "ranges": ["203.0.113.0/24"],
        "tools": [],
    }


def test_a_machine_without_faults_passes_and_missing_packages_are_listed_once(
    module: Run, arguments: dict[str, Any]
) -> None:
    tools = [{"command": name, "package": "some-package"} for name in ("no-such-a", "/no/b|/no/c", "sh")]
    result = module("sandbox_preconditions", **{**arguments, "tools": tools})
    assert "failed" not in result, result["msg"]
    assert result["packages"] == ["some-package"]
    assert result["running"] is False


def test_all_faults_are_told_together(module: Run, arguments: dict[str, Any]) -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:  # noqa: S104 - the case is a program that listens everywhere
        port = other.getsockname()[1]
        faulty = {
            "memory_mib": 1 << 40,
            "disk_gib": 1 << 30,
            "listeners": [{"address": "127.0.0.1", "port": port}],
            "ranges": ["0.0.0.0/0"],
            "tools": [{"command": "openssl", "package": "openssl", "version": "999", "version_arguments": ["version"]}],
        }
        message = module("sandbox_preconditions", **{**arguments, **faulty})["msg"]
    for expected in (
        f"the sandbox needs {1 << 40}: end other programs",
        f"the sandbox needs {1 << 30} there: make room",
        f"127.0.0.1:{port} is taken by py",
        "overlaps",
        "999 is the least: install openssl",
    ):
        assert expected in message
    assert message.count("\n- ") == 5 + message.count("overlaps") - 1


def test_a_port_of_another_address_is_no_fault(module: Run, arguments: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.2", 0)) as other:
        listeners = [{"address": "127.0.0.1", "port": other.getsockname()[1]}]
        assert "failed" not in module("sandbox_preconditions", **{**arguments, "listeners": listeners})


def test_built_programs_need_less_disk(module: Run, arguments: dict[str, Any]) -> None:
    programs = Path(arguments["cache_dir"]) / "bin/0"
    programs.mkdir(parents=True)
    needs = {**arguments, "disk_gib": 1 << 30}
    assert "make room" in module("sandbox_preconditions", **needs)["msg"]
    (programs / "kube-apiserver").touch()
    assert "failed" not in module("sandbox_preconditions", **needs)
