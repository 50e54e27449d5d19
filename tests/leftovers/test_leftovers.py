"""After `make sandbox-down` the machine is as it was."""

import subprocess
from pathlib import Path

STATE = "/var/lib/iot-receiver-sandbox"
CACHE = "/var/cache/iot-receiver-sandbox"


def output(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, text=True, capture_output=True, check=True).stdout


def test_no_process_is_left() -> None:
    left = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended after it was listed
        if STATE in command or f"{CACHE}/bin" in command or f"{CACHE}/venv" in command:
            left.append(command)
    assert left == []


def test_no_mount_is_left() -> None:
    mounts = Path("/proc/mounts").read_text().splitlines()
    assert [m for m in mounts if STATE in m or CACHE in m or "/run/netns/" in m] == []


def test_no_namespace_link_or_route_is_left() -> None:
    assert "iot-sandbox" not in output("ip", "netns", "list")
    assert "cni-" not in output("ip", "netns", "list")
    assert "iot-sandbox" not in output("ip", "link", "show")
    routes = output("ip", "route", "show", "table", "all")
    assert not [r for r in routes.splitlines() if "10.213.0." in r or "10.244." in r or "10.96." in r]


def test_no_name_is_left() -> None:
    assert "sandbox" not in Path("/etc/hosts").read_text()


def test_no_control_group_is_left() -> None:
    groups = Path("/sys/fs/cgroup").glob("*/*")
    assert [str(group) for group in groups if "iot-sandbox" in group.name or group.name == "kubepods"] == []


def test_no_state_is_left() -> None:
    assert not Path(STATE).exists()
