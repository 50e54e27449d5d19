"""Ansible module: nothing of the sandbox is left on its machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: sandbox_sweep
short_description: End the sandbox and remove what it left
description:
  - Ends the processes in the sandbox's control groups and network namespaces and those that carry its mark,
    then removes mounts, namespaces, links, control groups, blocks of /etc/hosts and the state folder.
  - Needs nothing of the checkout that started it and works on what is left of an interrupted start.
author: IoT receiver contributors (@iotweb)
options:
  state_dir: {description: Folder of the sandbox's state., type: path, required: true}
  cgroup:
    description: Control group of the sandbox; empty for one without root, which has no network of its own either.
    type: str
    required: true
  namespace:
    description: Its network namespace; those of further nodes begin with it and a dot.
    type: str
    required: true
  link: {description: Its network link on the host., type: str, required: true}
  hosts_marker:
    description: What the first and last lines of its blocks in /etc/hosts have.
    type: str
    required: true
  marks:
    description: Environment variables whose value is the state folder in the sandbox's other processes.
    type: list
    elements: str
    required: true
"""
EXAMPLES = """
- name: Nothing of the sandbox is left
  sandbox_sweep:
    state_dir: /var/lib/sandbox
    cgroup: iot-sandbox
    namespace: iot-sandbox
    link: iot-sandbox0
    hosts_marker: IoT receiver sandbox
    marks: [IOT_RECEIVER_SANDBOX]
"""
RETURN = """
removed: {description: What was there., type: list, elements: str, returned: always}
"""

HOSTS = Path("/etc/hosts")
NAMESPACES = Path("/run/netns")


class Sweep:
    """One pass over the machine; with check, only says what it would remove."""

    def __init__(self, state: Path, cgroup: str, check: bool) -> None:
        self.state, self.cgroup, self.check = state, cgroup, check
        self.removed: list[str] = []
        self.supervisor = 0

    def found(self, what: str) -> bool:
        """Note a thing that exists; true if it should be removed."""
        self.removed.append(what)
        return not self.check

    def cgroups(self) -> list[Path]:
        """The sandbox's control groups in every hierarchy."""
        if not self.cgroup:
            return []
        root = Path("/sys/fs/cgroup")
        return [group for group in (root / self.cgroup, *root.glob(f"*/{self.cgroup}")) if group.is_dir()]

    def processes(self, namespaces: list[Path], marks: list[str]) -> set[int]:
        """Ids of every process that is the sandbox's, never of this one or those that called it."""
        pids: set[int] = set()
        for group in self.cgroups():
            for folder, _, _ in os.walk(group):  # which passes over those that go meanwhile
                with contextlib.suppress(OSError):
                    pids |= {int(pid) for pid in Path(folder, "cgroup.procs").read_text().split()}
        inodes = {namespace.stat().st_ino for namespace in namespaces}
        carried = [f"\0{mark}={self.state}\0".encode() for mark in marks]
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = b"\0" + (process / "environ").read_bytes() + b"\0"
                if (process / "ns/net").stat().st_ino in inodes or any(mark in environment for mark in carried):
                    pids.add(int(process.name))
        return pids - {0, *ancestors()}

    def end_processes(self, namespaces: list[Path], marks: list[str]) -> None:
        """Kill until none is left: each pass may find what the one before had started.
        Raises TimeoutError if some survive, as those stuck in the kernel do."""
        first = self.processes(namespaces, marks)
        if not first or not self.found(f"{len(first)} processes"):
            return
        self.stop_supervisor(first)
        deadline = time.monotonic() + 20
        while left := self.processes(namespaces, marks):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"Processes {sorted(left)} do not end on SIGKILL: look at them with ps, then try again."
                )
            # The supervisor gets a moment to bury its children, which another first process might leave as
            # zombies.
            supervisor = {self.supervisor} if time.monotonic() < deadline - 15 else set()
            for pid in left - supervisor:
                kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def stop_supervisor(self, ours: set[int]) -> None:
        """Have the supervisor start nothing any more; its id may be another process's by now."""
        pid = self.state / "supervisor/supervisord.pid"
        with contextlib.suppress(OSError, ValueError):
            self.supervisor = int(pid.read_text())
            if self.supervisor in ours:
                kill(self.supervisor, signal.SIGTERM)

    def remove_mounts(self) -> None:
        """Unmount everything below the state folder; a node's own mounts vanish with its mount namespace."""
        for _ in range(5):
            points = [
                re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), line.split()[1])
                for line in Path("/proc/self/mounts").read_text().splitlines()
            ]
            ours = [point for point in points if Path(point).is_relative_to(self.state)]
            if not ours:
                return
            for point in sorted(ours, key=len, reverse=True):
                if self.found(f"mount {point}"):
                    run("umount", "--lazy", point)
            if self.check:
                return

    def remove_network(self, namespaces: list[Path], link: str) -> None:
        """Delete namespaces and link; routes and addresses go with the link."""
        if Path("/sys/class/net", link).exists() and self.found(f"link {link}"):
            run("ip", "link", "delete", link)
        for namespace in namespaces:
            if self.found(f"network namespace {namespace.name}"):
                run("umount", "--lazy", str(namespace))
                namespace.unlink(missing_ok=True)
        # `ip netns` mounts the folder on itself at its first use
        if namespaces and not self.check and not any(NAMESPACES.iterdir()):
            run("umount", str(NAMESPACES))

    def remove_cgroups(self) -> None:
        """Remove control groups, the innermost first; a just ended process holds its own for a moment."""
        for group in self.cgroups():
            if not self.found(f"control group {group}"):
                continue
            deadline = time.monotonic() + 5
            while group.exists():
                for folder, _, _ in os.walk(group, topdown=False):
                    with contextlib.suppress(OSError):
                        Path(folder).rmdir()
                if group.exists() and time.monotonic() > deadline:
                    raise TimeoutError(f"{group} can't be removed: a process in it does not end.")
                time.sleep(0.02)

    def remove_hosts(self, marker: str) -> None:
        """Take the sandbox's blocks out of /etc/hosts, in place as it may be a container's bind mount."""
        text = HOSTS.read_text()
        kept = re.sub(
            rf"(?ms)^# BEGIN [^\n]*{re.escape(marker)}[^\n]*\n.*?^# END [^\n]*{re.escape(marker)}[^\n]*\n?",
            "",
            text,
        )
        if kept != text and self.found(f"{HOSTS}: {marker}"):
            HOSTS.write_text(kept)

    def remove_files(self) -> None:
        """Delete the state folder; settings and mount points of the machine become what they were."""
        if not self.state.exists():
            return
        if not (self.state / "owner").exists() and any(self.state.iterdir()):
            raise PermissionError(
                f"{self.state} has no file `owner`, so the sandbox did not make it: remove it by hand."
            )
        noted = self.state / "machine.json"
        machine = json.loads(noted.read_text()) if noted.exists() else {"folders": [], "settings": {}}
        if self.found(f"folder {self.state}"):
            for path, value in machine["settings"].items():
                if Path(path).read_text().strip() != value:
                    Path(path).write_text(value)
            for folder in machine["folders"]:
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
            # the file that says whose the folder is goes last, so that an interrupted removal can be repeated
            for child in self.state.iterdir():
                if child.name != "owner":
                    shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
            shutil.rmtree(self.state)


def ancestors() -> Iterator[int]:
    """This process and those above it."""
    pid = os.getpid()
    while pid > 1:
        yield pid
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    yield 1


def kill(pid: int, number: signal.Signals) -> None:
    """Signal a process that may have ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def run(*command: str) -> None:
    """Run a command whose object may vanish meanwhile; what stays is found by the next look."""
    subprocess.run(command, check=False, capture_output=True)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "cgroup": {"type": "str", "required": True},
            "namespace": {"type": "str", "required": True},
            "link": {"type": "str", "required": True},
            "hosts_marker": {"type": "str", "required": True},
            "marks": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    arguments = module.params
    state = Path(arguments["state_dir"])
    if arguments["cgroup"] and os.geteuid():
        module.fail_json(msg="The sandbox's processes are root's: run it as root, or with sudo -E.")
    if len(state.parts) < 3:
        module.fail_json(msg=f"{state} is no folder of the sandbox's own: set sandbox_state_dir.")
    sweep = Sweep(state, arguments["cgroup"], module.check_mode)
    name = arguments["namespace"]
    namespaces = [NAMESPACES / name, *NAMESPACES.glob(f"{name}.*")] if name else []
    namespaces = [each for each in namespaces if each.exists()]
    try:
        sweep.end_processes(namespaces, arguments["marks"])
        sweep.remove_mounts()
        if arguments["cgroup"]:
            sweep.remove_network(namespaces, arguments["link"])
            sweep.remove_cgroups()
            sweep.remove_hosts(arguments["hosts_marker"])
        sweep.remove_files()
    except (OSError, TimeoutError) as error:
        module.fail_json(msg=str(error), removed=sweep.removed)
    module.exit_json(changed=bool(sweep.removed), removed=sweep.removed)


if __name__ == "__main__":
    main()
