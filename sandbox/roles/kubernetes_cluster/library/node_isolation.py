"""Ansible module: what makes a folder of this machine a node of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: node_isolation
short_description: Mount namespaces and control groups of the sandbox's nodes
description:
  - Gives each node a mount namespace in which the paths that kubelet and containerd don't let one choose
    lie in the node's folder, so that nodes disturb neither each other nor a cluster of the machine.
    All mounts of its pods end with it.
  - Gives each node a control group to hold its pods.
author: IoT receiver contributors (@iotweb)
options:
  state_dir:
    description: Folder of the sandbox's state; namespaces are pinned in its folder namespaces.
    type: path
    required: true
  cgroup: {description: Control group of the sandbox., type: str, required: true}
  nodes: {description: Names of the nodes., type: list, elements: str, required: true}
"""
EXAMPLES = """
- name: Nodes are kept apart
  node_isolation: {state_dir: /var/lib/sandbox, cgroup: iot-sandbox, nodes: [node-1]}
"""
RETURN = """
made: {description: What was missing., type: list, elements: str, returned: always}
"""

CGROUPS = Path("/sys/fs/cgroup")
OWN = {
    "/run/containerd": "run",
    "/var/lib/cni": "cni",
    "/var/lib/kubelet": "kubelet",
    "/var/log/containers": "logs/containers",
    "/var/log/pods": "logs/pods",
}
"""Paths of a node that nothing configures: shims' sockets, CNI's results, device plugins, links to logs."""
KUBELET_SETS = (
    "/proc/sys/kernel/keys/root_maxbytes",
    "/proc/sys/kernel/keys/root_maxkeys",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/panic_on_oom",
)
CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb")


class Nodes:
    """Makes what is missing; with check, only lists it."""

    def __init__(self, state: Path, cgroup: str, check: bool) -> None:
        self.state, self.cgroup, self.check = state, cgroup, check
        self.made: list[str] = []

    def missing(self, what: str) -> bool:
        """Note what is missing; true if it should be created."""
        self.made.append(what)
        return not self.check

    def machine(self) -> None:
        """What can only be the machine's: empty folders to mount on, and settings that a kubelet changes.
        Both are noted, so that the end of the sandbox restores them."""
        noted = self.state / "machine.json"
        before = json.loads(noted.read_text()) if noted.exists() else {"folders": [], "settings": {}}
        absent = [path for path in OWN if not Path(path).is_dir()]
        folders = sorted({*before["folders"], *absent})
        settings = {path: Path(path).read_text().strip() for path in KUBELET_SETS if Path(path).exists()}
        note = {"folders": folders, "settings": {**settings, **before["settings"]}}
        if note != before and self.missing(f"note of {noted}"):
            noted.write_text(json.dumps(note, indent=1))
        if absent and self.missing(f"mount points {', '.join(absent)}"):
            for path in absent:
                Path(path).mkdir(parents=True)

    def namespaces(self) -> Path:
        """Folder for pinned namespaces: the kernel pins them only where mounts don't propagate."""
        folder = self.state / "namespaces"
        if not mounted(folder) and self.missing(f"mount {folder}"):
            folder.mkdir(exist_ok=True)
            run("mount", "--bind", str(folder), str(folder))
        if not self.check:
            run("mount", "--make-private", str(folder))
        return folder

    def mounts(self, name: str, pin: Path) -> None:
        """A node's mount namespace: sees the machine's mounts, and shows its own to its pods alone."""
        node = self.state / name
        if not mounted(pin):
            if not self.missing(f"mount namespace of {name}"):
                return
            pin.touch()
            run("unshare", f"--mount={pin}", "--propagation", "slave", "true")
        enter = ("nsenter", f"--mount={pin}")
        table = subprocess.run(
            [*enter, "cat", "/proc/self/mounts"], check=True, capture_output=True, text=True
        ).stdout
        points = {line.split()[1] for line in table.splitlines()}
        absent = {point: own for point, own in OWN.items() if str(Path(point).resolve()) not in points}
        if absent and self.missing(f"mounts of {name}"):
            run(*enter, "mount", "--make-rshared", "/")
            for point, own in absent.items():
                (node / own).mkdir(parents=True, exist_ok=True)
                run(*enter, "mount", "--bind", str(node / own), str(Path(point).resolve()))

    def groups(self, name: str) -> None:
        """A node's control group in every hierarchy."""
        unified = (CGROUPS / "cgroup.controllers").exists()
        roots = [CGROUPS] if unified else [line[1] for line in hierarchies()]
        for root in roots:
            group = Path(root) / self.cgroup / name
            if group.is_dir() and filled(group):
                continue
            if self.missing(f"control group {group}"):
                group.mkdir(parents=True, exist_ok=True)
                for parent in (group.parent, group):
                    inherit_cpuset(parent)
        if unified and not self.check:
            wanted = [
                each for each in CONTROLLERS if each in (CGROUPS / "cgroup.controllers").read_text().split()
            ]
            for parent in (CGROUPS, CGROUPS / self.cgroup, CGROUPS / self.cgroup / name):
                delegate(parent, wanted)


def hierarchies() -> list[tuple[str, str]]:
    """Type and path of the mounted cgroup v1 hierarchies."""
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [
        (line[2], line[1]) for line in lines if line[2] == "cgroup" and Path(line[1]).is_relative_to(CGROUPS)
    ]


def filled(group: Path) -> bool:
    """True unless the group is of a cpuset hierarchy and allows nothing yet."""
    cpus = group / "cpuset.cpus"
    return not cpus.exists() or (group / "cgroup.controllers").exists() or bool(cpus.read_text().strip())


def inherit_cpuset(group: Path) -> None:
    """A new group of cgroup v1 allows no processor and no memory node until they are set."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = group / name
        if file.exists() and not (group / "cgroup.controllers").exists() and not file.read_text().strip():
            file.write_text((group.parent / name).read_text())


def delegate(group: Path, controllers: list[str]) -> None:
    """Hand controllers down to a group's children. Raises RuntimeError where its processes forbid it."""
    control = group / "cgroup.subtree_control"
    for each in controllers:
        if each not in control.read_text().split():
            try:
                control.write_text(f"+{each}")
            except OSError as error:
                raise RuntimeError(
                    f"The control group {group} can't hand on {each} ({error.strerror}): processes lie "
                    "in it, as in a container with control groups of its own. Run that with --cgroupns=host."
                ) from error


def mounted(path: Path) -> bool:
    """True if something is mounted on the path."""
    with contextlib.suppress(OSError):
        return any(
            line.split()[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines()
        )
    return False


def run(*command: str) -> None:
    """Run a command. Raises RuntimeError with its words if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "cgroup": {"type": "str", "required": True},
            "nodes": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    arguments: dict[str, Any] = module.params
    nodes = Nodes(Path(arguments["state_dir"]), arguments["cgroup"], module.check_mode)
    try:
        nodes.machine()
        folder = nodes.namespaces()
        for name in arguments["nodes"]:
            nodes.mounts(name, folder / name)
            nodes.groups(name)
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        module.fail_json(msg=str(error), made=nodes.made)
    lines = "".join(f"+{line}\n" for line in nodes.made)
    module.exit_json(changed=bool(nodes.made), made=nodes.made, diff={"prepared": lines})


if __name__ == "__main__":
    main()
