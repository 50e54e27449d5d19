"""Ansible module: whether the sandbox's state on disk can be continued."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: sandbox_freshness
short_description: Check whether a sandbox can continue, or record what the check needs
description:
  - The emulated AWS keeps nothing over a restart, so all that was deployed is worth as much as its process.
  - Without record, returns why the state must be removed before a start. With record, saves which run of the
    emulated AWS and which code the state belongs to.
author: IoT receiver contributors (@iotweb)
options:
  state_dir: {description: Folder of the sandbox's state., type: path, required: true}
  owner: {description: Checkout that this run belongs to., type: path, required: true}
  cgroup: {description: Control group of the sandbox., type: str, required: true}
  identity_url:
    description: URL at which the emulated AWS identifies its run.
    type: str
    required: true
  venv_digest: {description: Digest of the daemons' code; empty is not compared., type: str, default: ""}
  record: {description: Save instead of compare., type: bool, default: false}
  sources:
    description: Files and folders that decide what the sandbox is.
    type: list
    elements: path
    default: []
  settings: {description: "Variables that decide what the sandbox is, as text.", type: str, default: ""}
  complete:
    description: Save that a whole run has set up what the digest inputs stands for.
    type: str
    default: ""
"""
EXAMPLES = """
- name: State on disk can be continued
  sandbox_freshness:
    state_dir: /var/lib/sandbox
    owner: "{{ playbook_dir | dirname }}"
    cgroup: iot-sandbox
    identity_url: http://10.213.0.1:4566/sandbox/identity
"""
RETURN = """
stale:
  description: 'Why what is there has to be swept before a start, or empty.'
  type: str
  returned: always
running: {description: Whether the sandbox's supervisor runs., type: bool, returned: always}
inputs: {description: Digest of sources and settings., type: str, returned: without record}
unchanged:
  description: Whether the last whole run had the same inputs, and its configuration files are untouched since.
  type: bool
  returned: without record
owned: {description: Whether the state folder is marked as this checkout's., type: bool, returned: always}
"""


def staleness(arguments: dict[str, Any]) -> str:
    """Why the state can't be continued: its processes are gone, its emulated AWS forgot
    everything, or its code is another by now. Empty if it can, or if there is none."""
    state = Path(arguments["state_dir"])
    owner = read(state / "owner")
    if not owner:
        return ""
    runs = supervisor_runs(state, arguments["cgroup"])
    if owner != arguments["owner"] and not runs:
        return f"{owner} left one that does not run"
    if (state / "supervisor").exists() and not runs:
        return "it was ended without make sandbox-down, or the machine was restarted"
    recorded = json.loads(read(state / "identity.json") or "{}")
    if recorded and arguments["venv_digest"] and recorded["venv"] != arguments["venv_digest"]:
        return "its programs have changed"
    if recorded and identity(arguments["identity_url"], patience=15) != recorded["aws"]:
        return "its emulated AWS was restarted and has forgotten the deployment"
    return ""


def supervisor_runs(state: Path, cgroup: str) -> bool:
    """True if the supervisor runs; its process id can be another program's by now, its control group not."""
    pid = read(state / "supervisor/supervisord.pid")
    return bool(pid) and f":/{cgroup}/" in read(Path("/proc", pid, "cgroup"))


def identity(url: str, patience: float) -> str:
    """The emulated AWS's mark, another at each of its starts; empty if it doesn't answer within
    `patience` seconds, in which its supervisor may just be starting it again."""
    if not is_here(str(urlsplit(url).hostname)):
        return ""
    deadline = time.monotonic() + patience
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(url, timeout=10) as answer:
                return str(json.load(answer)["id"])
        except (OSError, ValueError, KeyError):
            if time.monotonic() > deadline:
                return ""
            time.sleep(0.5)


def is_here(address: str) -> bool:
    """True if the address is this machine's; a call to one that is not would leave by the default route."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


# What the roles write and nothing changes while the sandbox runs.
CONFIGURATION = (
    "aws/call", "aws/config", "aws/credentials", "aws/*.bsh", "aws/*.json", "broker/*.conf",
    "broker/server.*", "ca/*", "edge/key*", "edge/known_hosts", "edge/power", "kubeconfig",
    "kubernetes/*.*", "kubernetes/pki/*", "node-*/*.toml", "node-*/*.yaml", "node-*/cni/*", "node-*/registries/*/*",
    "registry/*.yaml", "registry/server.*", "registry/users-*", "supervisor/programs/*.conf",
)  # fmt: skip
NAMES = re.compile(r"(?ms)^# BEGIN IoT receiver sandbox: names$.*?^# END")


def inputs(sources: list[str], settings: str) -> str:
    """Digest of variables and of the files below the sources, byte code and the like apart."""
    digest = hashlib.sha256(settings.encode())
    for source in map(Path, sources):
        for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
            hidden = any(part.startswith((".", "__pycache__")) for part in file.relative_to(source).parts)
            if file.is_file() and not hidden:
                digest.update(f"\0{file.relative_to(source)}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def fingerprint(state: Path) -> dict[str, list[int] | str]:
    """Sizes, times and modes of the configuration files, and the sandbox's names in /etc/hosts."""
    files = sorted({file for pattern in CONFIGURATION for file in state.glob(pattern) if file.is_file()})
    found = {str(file): [(stat := file.stat()).st_size, stat.st_mtime_ns, stat.st_mode] for file in files}
    names = NAMES.search(read(Path("/etc/hosts")))
    return {**found, "/etc/hosts": names[0] if names else ""}


def read(path: Path) -> str:
    """Text of a file without the white space around it, empty if it can't be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "owner": {"type": "path", "required": True},
            "cgroup": {"type": "str", "required": True},
            "identity_url": {"type": "str", "required": True},
            "venv_digest": {"type": "str", "default": ""},
            "record": {"type": "bool", "default": False},
            "sources": {"type": "list", "elements": "path", "default": []},
            "settings": {"type": "str", "default": "", "no_log": True},
            "complete": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    arguments = module.params
    state = Path(arguments["state_dir"])
    whole = state / "complete.json"
    if arguments["complete"]:
        done = json.dumps({"inputs": arguments["complete"], "files": fingerprint(state)})
        if not module.check_mode and done != read(whole):
            whole.write_text(done)
        module.exit_json(changed=False, stale="", running=True, owned=True)
    if not arguments["record"]:
        owned = read(state / "owner") == arguments["owner"]
        stale = staleness(arguments)
        running = not stale and supervisor_runs(state, arguments["cgroup"])
        wanted = inputs(arguments["sources"], arguments["settings"])
        same = running and json.loads(read(whole) or "{}") == {"inputs": wanted, "files": fingerprint(state)}
        module.exit_json(
            changed=False, stale=stale, running=running, owned=owned, inputs=wanted, unchanged=owned and same
        )
    mark = identity(arguments["identity_url"], patience=0)
    noted = json.dumps({"aws": mark, "venv": arguments["venv_digest"]})
    changed = noted != read(state / "identity.json")
    if changed and not module.check_mode:
        if not mark:
            module.fail_json(msg=f"The emulated AWS does not answer at {arguments['identity_url']}.")
        (state / "identity.json").write_text(noted)
    module.exit_json(changed=changed, stale="", running=True, owned=True)


if __name__ == "__main__":
    main()
