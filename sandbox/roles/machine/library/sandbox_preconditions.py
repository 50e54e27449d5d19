"""Ansible module: what the sandbox needs of its machine, read without touching anything."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: sandbox_preconditions
short_description: Check the machine before the sandbox touches it
description: Reads the machine and fails with every fault at once, each with its fix. Changes nothing.
author: IoT receiver contributors (@iotweb)
options:
  state_dir: {description: Folder of the sandbox's state., type: path, required: true}
  cache_dir: {description: Folder of what the sandbox builds., type: path, required: true}
  owner: {description: Checkout that this run belongs to., type: path, required: true}
  cgroup: {description: Control group of the sandbox., type: str, required: true}
  link: {description: The sandbox's network link on the host., type: str, required: true}
  memory_mib: {description: Memory that must be available., type: int, required: true}
  disk_gib: {description: Free space for the first build., type: int, required: true}
  disk_built_gib: {description: Free space once everything is built., type: int, required: true}
  listeners:
    description: 'Addresses (address, port) that the parts listen on.'
    type: list
    elements: dict
    required: true
  ranges: {description: Address ranges that the sandbox uses., type: list, elements: str, required: true}
  tools:
    description: "Programs (command, package; version, the least one, and version_arguments that print it)."
    type: list
    elements: dict
    required: true
"""
EXAMPLES = """
- name: Machine can carry the sandbox
  sandbox_preconditions:
    state_dir: /var/lib/sandbox
    cache_dir: /var/cache/sandbox
    owner: "{{ playbook_dir | dirname }}"
    cgroup: iot-sandbox
    link: iot-sandbox0
    memory_mib: 5120
    disk_gib: 15
    disk_built_gib: 4
    listeners: [{address: 10.213.0.1, port: 443}]
    ranges: [10.213.0.0/24]
    tools: [{command: haproxy, package: haproxy}]
"""
RETURN = """
packages:
  description: Debian packages whose programs are missing.
  type: list
  elements: str
  returned: always
running: {description: Whether the sandbox's supervisor runs., type: bool, returned: always}
systemd: {description: Whether systemd is the machine's first process., type: bool, returned: always}
"""

CONTROLLERS_V1 = ("cpu", "cpuacct", "cpuset", "devices", "memory", "pids")
CONTROLLERS_V2 = ("cpu", "cpuset", "memory", "pids")
RELEASES = {"debian": 12.0, "ubuntu": 22.04}
LISTENING = "0A"


def system_faults(tools_missing: list[str]) -> Iterator[str]:
    """Who we are and what system this is."""
    if os.geteuid():
        yield "The sandbox makes namespaces and containers and so needs root: run it so, or by sudo -E."
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        yield f"The sandbox runs on x86-64 Linux, this is {sys.platform} on {os.uname().machine}."
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', read("/etc/os-release"), re.MULTILINE))
    family = next(
        (each for each in RELEASES if each in (release.get("ID", ""), *release.get("ID_LIKE", "").split())),
        "",
    )
    if tools_missing and not (family and shutil.which("apt-get")):
        yield (
            "The sandbox installs its programs with apt on Debian or Ubuntu; this is "
            f"{release.get('PRETTY_NAME', 'another system')}: install {', '.join(tools_missing)} by hand."
        )
    if release.get("ID") in RELEASES and float(release.get("VERSION_ID") or 99) < RELEASES[release["ID"]]:
        yield f"{release['PRETTY_NAME']} is too old: Debian 12 or Ubuntu 22.04 is the least."


def kernel_faults() -> Iterator[str]:
    """Control groups and the overlay file system, which containers need."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    there = set(unified.read_text().split()) if unified.exists() else set()
    wanted = CONTROLLERS_V2 if unified.exists() else CONTROLLERS_V1
    for mount in () if unified.exists() else read("/proc/mounts").splitlines():
        if mount.split()[2] == "cgroup":
            there |= set(mount.split()[3].split(","))
    if missing := [each for each in wanted if each not in there]:
        yield (
            f"The control groups {', '.join(missing)} are missing under /sys/fs/cgroup: mount them "
            "(Debian's package cgroupfs-mount), or in a container run it with --privileged --cgroupns=host."
        )
    if not re.search(r"\boverlay$", read("/proc/filesystems"), re.MULTILINE) and not module_there("overlay"):
        yield "The kernel has no overlay file system: load it with modprobe overlay."


def module_there(name: str) -> bool:
    """True if the kernel could load a module."""
    return (
        bool(shutil.which("modprobe"))
        and not subprocess.run(
            ["modprobe", "--dry-run", "--quiet", name], check=False, capture_output=True
        ).returncode
    )


def room_faults(arguments: dict[str, Any]) -> Iterator[str]:
    """Memory and disk."""
    available = int(re.findall(r"^MemAvailable:\s+(\d+)", read("/proc/meminfo"), re.MULTILINE)[0]) // 1024
    if available < arguments["memory_mib"]:
        yield (
            f"{available} MiB of memory are available, the sandbox needs {arguments['memory_mib']}: "
            "end other programs or use a larger machine."
        )
    cache = Path(arguments["cache_dir"])
    needed = arguments["disk_built_gib"] if any(cache.glob("**/kube-apiserver")) else arguments["disk_gib"]
    for folder in dict.fromkeys((existing(cache), existing(Path(arguments["state_dir"])))):
        free = shutil.disk_usage(folder).free >> 30
        if free < needed:
            yield (
                f"{folder} has {free} GiB free, the sandbox needs {needed} there: make room, "
                "or set sandbox_cache_dir and sandbox_state_dir in the inventory."
            )
            return


def existing(path: Path) -> Path:
    """The path itself or its nearest parent that is there."""
    while not path.exists():
        path = path.parent
    return path


def network_faults(arguments: dict[str, Any]) -> Iterator[str]:
    """Ports in use by others and ranges that lead elsewhere."""
    for wanted in arguments["listeners"]:
        for inode in listening_inodes(wanted["address"], int(wanted["port"])):
            pid, name = holder_of(inode)
            if not in_cgroup(pid, arguments["cgroup"]):
                yield (
                    f"{wanted['address']}:{wanted['port']} is taken by {name} (process {pid or 'unknown'}): "
                    "stop it, or have it listen on another address than all."
                )
    if shutil.which("ip") is None:
        return
    out = subprocess.run(["ip", "-j", "-4", "route"], check=True, capture_output=True, text=True).stdout
    for route in json.loads(out or "[]"):
        if route["dst"] == "default" or route.get("dev") == arguments["link"]:
            continue
        for wanted_range in arguments["ranges"]:
            if ipaddress.ip_network(wanted_range, strict=False).overlaps(
                ipaddress.ip_network(route["dst"], strict=False)
            ):
                yield (
                    f"{wanted_range} overlaps {route['dst']}, which this machine reaches through "
                    f"{route.get('dev')}: set other ones in the inventory (sandbox_host_address, "
                    "sandbox_registry_address, sandbox_kubernetes_nodes, sandbox_pod_range or "
                    "sandbox_service_range)."
                )


def listening_inodes(address: str, port: int) -> Iterator[str]:
    """Inodes of the sockets that would keep a program from listening there."""
    for table, wildcard in (("tcp", "0" * 8), ("tcp6", "0" * 32)):
        own = socket.inet_aton(address)[::-1].hex().upper()
        for line in read(f"/proc/net/{table}").splitlines()[1:]:
            fields = line.split()
            local, local_port = fields[1].split(":")
            if (
                fields[3] == LISTENING
                and int(local_port, 16) == port
                and (local == wildcard or local.endswith(own))
            ):
                yield fields[9]


def holder_of(inode: str) -> tuple[str, str]:
    """Process id and name of the holder of a socket."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()) == f"socket:[{inode}]":
                return link.parts[2], read(f"/proc/{link.parts[2]}/comm").strip()
        except OSError:
            continue
    return "", "another program"


def in_cgroup(pid: str, name: str) -> bool:
    """True if the process is below the sandbox's control group."""
    return bool(pid) and f":/{name}/" in read(f"/proc/{pid}/cgroup")


def supervisor_pid(arguments: dict[str, Any]) -> str:
    """The supervisor's process id, or empty if it doesn't run."""
    pid = read(f"{arguments['state_dir']}/supervisor/supervisord.pid").strip()
    return pid if in_cgroup(pid, arguments["cgroup"]) else ""


def owner_faults(arguments: dict[str, Any]) -> Iterator[str]:
    """Another checkout's sandbox is up."""
    owner = read(f"{arguments['state_dir']}/owner").strip()
    if owner and owner != arguments["owner"] and supervisor_pid(arguments):
        yield (
            f"The sandbox that {owner} started is up: end it with make sandbox-down (here will do), or leave its parts "
            "to that checkout with --skip-tags sandbox."
        )


def tool_faults(tools: list[dict[str, Any]]) -> Iterator[str]:
    """Programs that are there but too old."""
    for tool in tools:
        if tool.get("version") and shutil.which(tool["command"]):
            done = subprocess.run(
                [tool["command"], *tool["version_arguments"]], capture_output=True, text=True, check=False
            )
            found = re.search(r"\d+(\.\d+)*", done.stdout + done.stderr)
            if found and numbers(found[0]) < numbers(str(tool["version"])):
                yield (
                    f"{tool['command']} is version {found[0]}, {tool['version']} is the least: "
                    f"install {tool['package']}."
                )


def numbers(version: str) -> list[int]:
    """Version as comparable numbers."""
    return [int(part) for part in version.split(".")]


def read(path: str) -> str:
    """Text of a file, empty if it can't be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "cache_dir": {"type": "path", "required": True},
            "owner": {"type": "path", "required": True},
            "cgroup": {"type": "str", "required": True},
            "link": {"type": "str", "required": True},
            "memory_mib": {"type": "int", "required": True},
            "disk_gib": {"type": "int", "required": True},
            "disk_built_gib": {"type": "int", "required": True},
            "listeners": {"type": "list", "elements": "dict", "required": True},
            "ranges": {"type": "list", "elements": "str", "required": True},
            "tools": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    arguments = module.params
    # cron and minimal shells leave out the sbin folders, where half of the programs lie
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
    running = bool(supervisor_pid(arguments))
    missing = [tool for tool in arguments["tools"] if not present(tool["command"])]
    faults = [
        *system_faults([tool["command"] for tool in missing]),
        *kernel_faults(),
        *([] if running else room_faults(arguments)),
        *network_faults(arguments),
        *owner_faults(arguments),
        *tool_faults(arguments["tools"]),
    ]
    if faults:
        module.fail_json(msg="This machine can't carry the sandbox yet:\n- " + "\n- ".join(faults))
    module.exit_json(
        changed=False,
        packages=sorted({tool["package"] for tool in missing}),
        running=running,
        systemd=Path("/run/systemd/system").is_dir(),
    )


def present(command: str) -> bool:
    """True if the program (a name, or several absolute paths of which one is enough) is there."""
    return any(shutil.which(each) for each in command.split("|"))


if __name__ == "__main__":
    main()
