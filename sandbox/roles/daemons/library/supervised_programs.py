"""Ansible module: programs under the sandbox's supervisord (http://supervisord.org/api.html)."""

from __future__ import annotations

import contextlib
import difflib
import http.client
import json
import os
import pwd
import re
import resource
import socket
import ssl
import subprocess
import time
import urllib.request
import xmlrpc.client
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError, URLError

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: supervised_programs
short_description: Programs run under the sandbox's supervisor
description:
  - Starts supervisord where it does not run, writes each program's configuration, starts it,
    restarts it when its configuration or digest changed, and waits until it is ready.
  - All programs are started before the first is waited for.
  - With look, changes nothing and returns what is missing of all programs that were ever configured.
author: IoT receiver contributors (@iotweb)
options:
  state_dir: {description: Folder of the sandbox's state., type: path, required: true}
  supervisord: {description: Program that supervises., type: path, required: true}
  cgroup:
    description: Control group below which every daemon stays; empty for none, as without root.
    type: str
    required: true
  wait:
    description: Whether to wait until the programs are ready; if not, a later look has to find them so.
    type: bool
    default: true
  settle: {description: Seconds that a program must have run to count as started., type: int, default: 1}
  look: {description: Only check the programs configured before., type: bool, default: false}
  checks:
    description: With look, commands that must succeed, too.
    type: list
    elements: list
    default: []
  programs:
    description: Programs, in the order in which they are waited for.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the program and of its log., type: str, required: true}
      command: {description: Command line., type: str, required: true}
      environment: {description: Variables beside PATH and HOME; no secrets., type: dict, default: {}}
      priority: {description: Lower ones start first and stop last., type: int, default: 500}
      digest:
        description: Digest of what stands behind the command; another restarts it.
        type: str
        default: ''
      stop_seconds: {description: Time to end after SIGTERM before SIGKILL., type: int, default: 10}
      ready:
        description: What shows that it serves, one of url, port (with host) or command; seconds in timeout.
        type: dict
        default: {}
"""
EXAMPLES = """
- name: Registry runs
  supervised_programs:
    state_dir: /var/lib/sandbox
    supervisord: /var/cache/sandbox/venv/bin/supervisord
    cgroup: iot-sandbox
    programs:
      - {name: registry, command: docker-registry serve conf.yml, ready: {host: 10.213.0.10, port: 443}}

- name: Check that every program serves
  supervised_programs: {state_dir: /var/lib/sandbox, supervisord: unused, cgroup: iot-sandbox, look: true}
"""
RETURN = """
started:
  description: Names of the programs started or restarted.
  type: list
  returned: always
  elements: str
missing:
  description: "With look, what each program that does not serve lacks."
  type: list
  returned: with look
  elements: str
"""

CONFIGURATION = """[unix_http_server]
file={state}/supervisor/supervisor.sock
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisord]
logfile={state}/log/supervisord.log
logfile_maxbytes=2MB
logfile_backups=1
pidfile={state}/supervisor/supervisord.pid
childlogdir={state}/log
directory={state}
minfds={files}
umask=022
# A session of the user who started it must not show through.
user={user}

[supervisorctl]
serverurl=unix://{state}/supervisor/supervisor.sock

[include]
files = {state}/supervisor/programs/*.conf
"""
PROGRAM = """[program:{name}]
command={command}
environment={environment}
directory={state}
priority={priority}
startsecs=1
startretries=30
autorestart=true
stopwaitsecs={stop_seconds}
killasgroup=true
redirect_stderr=true
stdout_logfile={state}/log/{name}.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=1
"""
MARK = "IOT_RECEIVER_SANDBOX"  # by which the sweep finds what has no control group
CONTROL = """#!/bin/sh
exec {supervisorctl} -c {state}/supervisor/supervisord.conf "$@"
"""


class UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over the supervisor's socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(60)
        connection.sock.connect(str(self.path))
        return connection


class Supervisor:
    """The sandbox's supervisord: its files, its process, its programs."""

    def __init__(self, state: Path, supervisord: Path, cgroup: str) -> None:
        self.state, self.supervisord, self.cgroup = state, supervisord, cgroup
        self.folder = state / "supervisor"
        self.rpc = xmlrpc.client.ServerProxy(
            "http://localhost", transport=UnixTransport(self.folder / "supervisor.sock")
        ).supervisor

    def runs(self) -> bool:
        """True if it answers."""
        try:
            state = cast("dict[str, Any]", self.rpc.getState())
            return bool(state["statename"] == "RUNNING")
        except (OSError, http.client.HTTPException):
            return False

    def start(self) -> None:
        """Start the daemon in a clean environment, in a control group of its own so that all it ever
        started can be found. Raises RuntimeError with its output if it doesn't come up."""
        for folder in (self.folder / "programs", self.state / "log"):
            folder.mkdir(parents=True, exist_ok=True)
        files = min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        configuration = self.folder / "supervisord.conf"
        account = pwd.getpwuid(os.geteuid())
        configuration.write_text(CONFIGURATION.format(state=self.state, files=files, user=account.pw_name))
        control = self.folder / "control"
        control.write_text(
            CONTROL.format(state=self.state, supervisorctl=self.supervisord.with_name("supervisorctl"))
        )
        control.chmod(0o755)
        command: list[str | Path] = [self.supervisord, "-c", configuration]
        if self.cgroup:
            procs = daemons_cgroup(self.cgroup) / "cgroup.procs"
            command = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', procs, *command]
        done = subprocess.run(
            command,
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": account.pw_dir,
                "LANG": "C.UTF-8",
                MARK: str(self.state),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        deadline = time.monotonic() + 20
        while not self.runs():
            if done.returncode or time.monotonic() > deadline:
                raise RuntimeError(f"supervisord did not start: {done.stdout}{done.stderr}")
            time.sleep(0.1)

    def ensure(self, name: str) -> bool:
        """Have the program run with the configuration on disk; True if it had to be (re)started."""
        added, changed, _ = cast("list[list[list[str]]]", self.rpc.reloadConfig())[0]
        if name in changed:
            self.rpc.stopProcessGroup(name)
            self.rpc.removeProcessGroup(name)
        if name in changed or name in added:
            self.rpc.addProcessGroup(name)
            return True
        if self.process(name)["statename"] in ("RUNNING", "STARTING", "BACKOFF"):
            return False
        self.rpc.startProcess(name, False)
        return True

    def process(self, name: str) -> dict[str, Any]:
        """What supervisord says of one program."""
        return cast("dict[str, Any]", self.rpc.getProcessInfo(name))

    def log(self, name: str) -> Path:
        """The file of a program's log."""
        return self.state / "log" / f"{name}.log"

    def log_tail(self, name: str) -> str:
        """The last 20 lines of a program's log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log(name).read_text(errors="replace").splitlines()[-20:])
        return "(no log)"


def daemons_cgroup(name: str) -> Path:
    """The control group for daemons, made if need be; with cgroup v1 one hierarchy is enough to find them."""
    root = Path("/sys/fs/cgroup")
    if not (root / "cgroup.controllers").exists():
        root = next(root / each for each in ("pids", "freezer", "memory") if (root / each).is_dir())
    group = root / name / "daemons"
    group.mkdir(parents=True, exist_ok=True)
    return group


def rendered(state: Path, program: dict[str, Any]) -> str:
    """Configuration of one program. `%` starts an expansion in supervisord's files, so it is doubled.
    Raises ValueError for a value that those files can't hold: they have no escapes for quotes."""
    environment = {**program["environment"], "SANDBOX_PROGRAM_DIGEST": program["digest"]}
    for key, value in environment.items():
        if re.search(r"""["'\n]|\s[;#]""", str(value)):
            raise ValueError(f"{program['name']}: {key} can't be passed in the environment: put it into a file.")
    pairs = [f'{key}="{str(value).replace("%", "%%")}"' for key, value in sorted(environment.items())]
    return PROGRAM.format(
        state=state,
        name=program["name"],
        command=" ".join(program["command"].split()).replace("%", "%%"),
        environment=",".join(pairs),
        priority=program["priority"],
        stop_seconds=program["stop_seconds"],
    )


def is_ready(ready: dict[str, Any]) -> str:
    """Empty once the program serves, else what is missing."""
    if ready.get("url"):
        context = (
            ssl.create_default_context(cafile=ready.get("ca_file"))
            if ready["url"].startswith("https")
            else None
        )
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            *([urllib.request.HTTPSHandler(context=context)] if context else []),
        )
        try:
            with opener.open(ready["url"], timeout=5):
                return ""
        except HTTPError as error:
            return f"{ready['url']} answers {error.code}"
        except (URLError, OSError, http.client.HTTPException) as error:
            return f"{ready['url']}: {error}"
    if ready.get("port"):
        try:
            socket.create_connection((ready.get("host", "127.0.0.1"), int(ready["port"])), timeout=2).close()
        except OSError as error:
            return f"{ready.get('host')}:{ready['port']}: {error}"
    if ready.get("command"):
        done = subprocess.run(
            ready["command"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
            env={**os.environ, "LC_ALL": "C"},
        )
        return "" if done.returncode == 0 else (done.stderr or done.stdout).strip()[-500:] or "not ready"
    return ""


def await_ready(supervisor: Supervisor, program: dict[str, Any], fresh: bool, settle: int) -> None:
    """Return once the program runs and serves. Raises TimeoutError naming what is missing."""
    ready, name = program["ready"], program["name"]
    deadline = time.monotonic() + float(ready.get("timeout", 60))
    while True:
        process = supervisor.process(name)
        missing = f"it is {process['statename']} ({process['spawnerr'] or process['description']})"
        if process["statename"] == "RUNNING":
            missing = is_ready(ready)
            if not missing and (not fresh or ready or process["now"] - process["start"] >= settle):
                return
        if process["statename"] == "FATAL" or time.monotonic() > deadline:
            raise TimeoutError(
                f"{name} does not get ready: {missing}. The end of {supervisor.log(name)}:\n{supervisor.log_tail(name)}"
            )
        time.sleep(0.2)


def main() -> None:
    program = {
        "name": {"type": "str", "required": True},
        "command": {"type": "str", "required": True},
        "environment": {"type": "dict", "default": {}},
        "priority": {"type": "int", "default": 500},
        "digest": {"type": "str", "default": ""},
        "stop_seconds": {"type": "int", "default": 10},
        "ready": {"type": "dict", "default": {}},
    }
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "supervisord": {"type": "path", "required": True},
            "cgroup": {"type": "str", "required": True},
            "wait": {"type": "bool", "default": True},
            "settle": {"type": "int", "default": 1},
            "look": {"type": "bool", "default": False},
            "checks": {"type": "list", "elements": "list", "default": []},
            "programs": {"type": "list", "elements": "dict", "default": [], "options": program},
        },
        supports_check_mode=True,
    )
    arguments = module.params
    supervisor = Supervisor(Path(arguments["state_dir"]), Path(arguments["supervisord"]), arguments["cgroup"])
    try:
        if arguments["look"]:
            module.exit_json(changed=False, started=[], missing=look(supervisor, arguments["checks"]))
        changes = apply(supervisor, arguments["programs"], module.check_mode)
        if arguments["wait"] and not module.check_mode:
            for program in arguments["programs"]:
                await_ready(supervisor, program, program["name"] in changes["started"], arguments["settle"])
        module.exit_json(**changes)
    except (RuntimeError, ValueError, TimeoutError, OSError, xmlrpc.client.Fault, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=str(error))


def apply(supervisor: Supervisor, programs: list[dict[str, Any]], check: bool) -> dict[str, Any]:
    """Write and start the programs; with check, only say what would be written or started."""
    before: dict[str, str] = {}
    after: dict[str, str] = {}
    for program in programs:
        path = supervisor.folder / "programs" / f"{program['name']}.conf"
        text, old = rendered(supervisor.state, program), path.read_text() if path.exists() else ""
        if text != old:
            before[program["name"]], after[program["name"]] = old, text
    diff = [
        {
            "prepared": "".join(
                difflib.unified_diff(before[name].splitlines(True), after[name].splitlines(True), name, name)
            )
        }
        for name in after
    ]
    runs = supervisor.runs()
    if check:
        stopped = [each["name"] for each in programs if not runs or each["name"] in after]
        return {"changed": bool(stopped), "started": stopped, "diff": diff}
    if not runs:
        supervisor.start()
    for name, text in after.items():
        path = supervisor.folder / "programs" / f"{name}.conf"
        path.with_suffix(".new").write_text(text)
        path.with_suffix(".new").replace(path)
    for program in programs:
        configuration = supervisor.folder / "programs" / f"{program['name']}.conf"
        conditions_of(configuration).write_text(json.dumps(program["ready"]))
    started = [each["name"] for each in programs if supervisor.ensure(each["name"])]
    return {"changed": bool(started or after or not runs), "started": started, "diff": diff}


def conditions_of(configuration: Path) -> Path:
    """The file beside a program's configuration that holds its `ready`, for later looks."""
    return configuration.with_suffix(".ready")


def look(supervisor: Supervisor, checks: list[list[str]]) -> list[str]:
    """What the programs configured so far lack, in one pass without waiting; empty if all of them serve."""
    if not supervisor.runs():
        return ["supervisord does not run"]
    states = {process["name"]: process["statename"] for process in cast("Any", supervisor.rpc.getAllProcessInfo())}
    conditions: list[dict[str, Any]] = [{"command": check} for check in checks]
    missing = []
    for configuration in sorted((supervisor.folder / "programs").glob("*.conf")):
        state = states.get(configuration.stem, "not loaded")
        if state != "RUNNING":
            missing.append(f"{configuration.stem} is {state}")
        elif conditions_of(configuration).exists():
            conditions.append(json.loads(conditions_of(configuration).read_text()))
        else:
            missing.append(f"{configuration.stem} was never ready")
    with ThreadPoolExecutor() as pool:
        return [*missing, *filter(None, pool.map(is_ready, conditions))]


if __name__ == "__main__":
    main()
