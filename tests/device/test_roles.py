"""Roles device and device_kit, and the playbook that runs them, on this machine; AWS and supervisor are stand-ins."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from iot_device.measurements import Measurements
from iot_device.spool import Spool

from tests.device.harness import degrees
from tests.support import playbook as program
from tests.support.paths import ROOT

pytestmark = pytest.mark.long
# Runs share the archives of Ansible's modules, which take most of a run's processor time to build.
CONFIGURATION = """\
[defaults]
roles_path = {root}/roles
collections_path = {stand_ins}:{root}/collections
callbacks_enabled = iotweb.deployment.kept_modules, iotweb.deployment.module_server
local_tmp = {folder}/tmp
pipelining = true
"""
# Answers and logs in a test's folder.
AWS = """\
#!/usr/bin/python
# WANT_JSON
import json, os, pathlib, sys
file = pathlib.Path(os.environ["STAND_INS"], {name!r})
with file.with_suffix(".log").open("a") as log, open(sys.argv[1]) as arguments:
    print(json.dumps(json.load(arguments) | {{"_became": "BECAME" in os.environ}}), file=log)
print(file.with_suffix(".json").read_text())
"""
MODULES = ("iot_endpoint_info", "iot_certificate", "iot_certificate_info", "iot_thing")
RECORDER = """\
#!/bin/sh
echo "$(basename "$0") $*" >>{log}
[ "$1" != status ] || ! grep -q ' stop ' {log} || exit 3
[ "$1" != status ] || echo RUNNING
"""


class Controller:
    """Runs playbooks in a folder, against hosts that are all this machine."""

    def __init__(self, folder: Path, stand_ins: Path) -> None:
        self.folder, self.stand_ins = folder, stand_ins
        for name in MODULES:
            self.module(name, {"endpoint_address": "looked-up.example.com", "certificates": []})
        (folder / "ansible.cfg").write_text(CONFIGURATION.format(root=ROOT, folder=folder, stand_ins=stand_ins))
        self.hosts: dict[str, dict[str, Any]] = {"edge-1": {}, "edge-2": {}}

    def module(self, name: str, answer: dict[str, Any]) -> None:
        """Set what the module in the place of one that calls AWS answers."""
        (self.folder / f"{name}.json").write_text(json.dumps(answer))

    def arguments(self, module: str) -> list[dict[str, Any]]:
        """What a module was called with."""
        return [json.loads(line) for line in (self.folder / f"{module}.log").read_text().splitlines()]

    def variables(self, **given: Any) -> dict[str, Any]:
        """Variables that keep role device within the folder."""
        user = "root" if os.getuid() == 0 else os.environ["USER"]
        return {
            "device_user": user, "device_group": user, "device_service_manager": "supervisor",
            "device_supervisorctl": [self.recorder("supervisorctl")], "device_python": sys.executable,
            "device_supervisor_programs_dir": self.made("programs"), "device_state_dir": self.made("state"),
            "device_config_dir": self.made("etc/{{ inventory_hostname }}"), "device_home": self.made("home"),
            "device_wheels_dir": self.made("wheels"), "device_program": "",
        } | given  # fmt: skip

    def made(self, name: str) -> str:
        path = self.folder / name
        if "{" not in name:
            path.mkdir(parents=True, exist_ok=True)
        return str(path)

    def recorder(self, name: str) -> str:
        """A program that logs its calls."""
        program = self.folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(RECORDER.format(log=self.folder / "calls"))
        program.chmod(0o755)
        return str(program)

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def run(self, playbook: Path, *options: str) -> tuple[int, str]:
        inventory = {
            "all": {
                "children": {"deployment": {"hosts": {"localhost": {}}}, "edge": {"hosts": self.hosts},
                             "kits": {"hosts": {"workshop": {}}}},
                "vars": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}",
                         "aws_environment": {}},
            }
        }  # fmt: skip
        (self.folder / "hosts.json").write_text(json.dumps(inventory))
        environment = os.environ | {
            "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOME": str(self.stand_ins / "home"), "STAND_INS": str(self.folder),
            "PATH": f"{self.folder / 'bin'}:{os.environ.get('PATH', '')}",
        }  # fmt: skip
        done = program.run("-i", str(self.folder / "hosts.json"), str(playbook), *options, env=environment,
                           capture_output=True, timeout=180)  # fmt: skip
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def play(self, hosts: str, variables: dict[str, Any], *tasks: dict[str, Any]) -> tuple[int, str]:
        play = [{"hosts": hosts, "gather_facts": False, "vars": variables, "tasks": list(tasks)}]
        (self.folder / "play.yml").write_text(json.dumps(play))
        return self.run(self.folder / "play.yml")


def loaded(path: str) -> Any:
    """A file in YAML, read by Ansible's Python: this one may lack the library."""
    script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"
    done = subprocess.run([program.PYTHON, "-c", script], input=(ROOT / path).read_text(),
                          text=True, capture_output=True, check=True)  # fmt: skip
    return json.loads(done.stdout)


@pytest.fixture(name="stand_ins", scope="module")
def _stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Collections with modules in the place of those that call AWS."""
    folder = tmp_path_factory.mktemp("collections")
    modules = folder / "ansible_collections/iotweb/aws_iot/plugins/modules"
    modules.mkdir(parents=True)
    for name in MODULES:
        (modules / f"{name}.py").write_text(AWS.format(name=name))
    return folder


@pytest.fixture(name="controller")
def _controller(tmp_path: Path, stand_ins: Path) -> Controller:
    if not program.PYTHON.exists():
        pytest.skip("ansible-playbook is not installed: make setup")
    return Controller(tmp_path, stand_ins)


def role(entry: str) -> dict[str, Any]:
    return {"ansible.builtin.import_role": {"name": "device", "tasks_from": entry}}


@pytest.mark.parametrize("limit", ["edge-1", "edge-1,edge-2", "workshop"])
def test_a_limit_that_excludes_the_deployment_is_refused(limit: str, controller: Controller) -> None:
    status, out = controller.run(ROOT / "playbooks/devices.yml", "--limit", limit, "-e", "device_state=absent")
    assert status != 0
    assert f"--limit localhost,{limit}" in out
    status, out = controller.run(ROOT / "playbooks/devices.yml", "--limit", f"localhost,{limit}")
    assert status != 0
    assert "--limit" not in out  # the deployment takes part, and finds its inventory unfilled


def test_each_host_has_an_endpoint_although_the_first_names_its_own(controller: Controller) -> None:
    controller.hosts["edge-1"] = {"device_endpoint": "own.example.com"}
    folders = {"ansible.builtin.file": {"path": "{{ device_config_dir }}", "state": "directory", "mode": "0700"}}
    status, out = controller.play("edge", controller.variables(), folders, role("configuration"))
    assert status == 0, out
    for host, endpoint in (("edge-1", "own.example.com"), ("edge-2", "looked-up.example.com")):
        assert f'endpoint = "{endpoint}"' in (controller.folder / "etc" / host / "iot-device.toml").read_text()


@pytest.mark.parametrize("basic_ingest", [False, True])
def test_measurements_and_topic_of_the_deployment_reach_device_and_kit(
    basic_ingest: bool, controller: Controller
) -> None:
    declared = {"temp": {"attribute": "temperature", "type": "number", "required": True, "minimum": -40.5},
                "door open?": {"type": "boolean", "attribute": 'a "b" \\ c'}}  # fmt: skip
    variables = controller.variables(measurements=declared, iot_basic_ingest=basic_ingest, iot_topic="a/b",
                                     device_kit_endpoint="kits.example.com", device_kit_thing="kit-1",
                                     deployment_name="iot-receiver")  # fmt: skip
    folders = {"ansible.builtin.file": {"path": "{{ device_config_dir }}", "state": "directory", "mode": "0700"}}
    load = {"ansible.builtin.include_role": {"name": "device_kit", "tasks_from": "remove", "public": True},
            "vars": {"device_kit_folder": str(controller.folder / "none")}}  # fmt: skip
    kit = {"ansible.builtin.template": {"src": str(ROOT / "roles/device_kit/templates/iot-device.toml.j2"),
                                        "dest": str(controller.folder / "kit.toml"), "mode": "0644"}}  # fmt: skip
    status, out = controller.play("edge-1", variables, folders, role("configuration"), load, kit)
    assert status == 0, out
    for path in (controller.folder / "etc/edge-1/iot-device.toml", controller.folder / "kit.toml"):
        written = tomllib.loads(path.read_text())
        assert written["measurements"] == declared
        assert dict(Measurements(written["measurements"])).keys() == declared.keys()
        assert written["topic"] == ("$aws/rules/forward_to_alb/a/b" if basic_ingest else "a/b")


@pytest.mark.parametrize(("kept", "gone"), [(0, []), (1, ["later", "old"]), (2, ["old"]), (3, [])])
def test_a_key_made_anew_reports_or_deletes_other_certificates(
    kept: int, gone: list[str], controller: Controller
) -> None:
    """The thing has two older certificates, active, and a revoked one; the host has no key, then has one."""
    old, later, revoked, new = ("a" * 64, "d" * 64, "b" * 64, "c" * 64)
    held = [{"certificate_id": name, "status": status, "creation_date": f"2026-01-0{day}T00:00:00+00:00"}
            for day, (name, status) in enumerate(
                [(old, "ACTIVE"), (later, "ACTIVE"), (revoked, "REVOKED"), (new, "ACTIVE")], start=1)]  # fmt: skip
    controller.module("iot_certificate_info", {"certificates": held})
    controller.module("iot_certificate", {"certificate": {"certificate_id": new}})
    variables = controller.variables(
        device_certificates_kept=kept, device_root_ca=str(ROOT / "LICENSE"), iot_policy_name="p"
    )
    status, out = controller.play("edge-1", variables, role("identity"))
    assert status == 0, out
    deleted = [call for call in controller.arguments("iot_certificate") if call.get("state") == "absent"]
    assert [call["certificate_id"] for call in deleted] == [{"old": old, "later": later}[name] for name in gone]
    assert ("thing edge-1 has other certificates, whose keys are elsewhere: dddddddd, aaaaaaaa." in out) is (kept == 0)
    status, out = controller.play("edge-1", variables, role("identity"))
    assert status == 0, out
    assert "other certificates" not in out, "its key is there"


SUDO = """\
#!/bin/sh
while [ "${{1#-}}" != "$1" ]; do case "$1" in -u|-p) shift;; esac; shift; done
echo became >>{log}
BECAME=1 exec "$@"
"""


def test_a_host_that_is_logged_into_as_pi_becomes_root_and_this_machine_does_not(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What calls AWS runs here, as whoever runs Ansible and with their credentials."""
    monkeypatch.setenv("ANSIBLE_BECOME_ALLOW_SAME_USER", "true")  # the tests' user may be root already
    sudo = controller.folder / "sudo"
    sudo.write_text(SUDO.format(log=controller.folder / "became"))
    sudo.chmod(0o755)
    controller.hosts["edge-1"] = {"ansible_become": True, "ansible_become_exe": str(sudo)}
    for name in ("iot_certificate", "iot_thing"):
        controller.module(name, {"certificate": {"certificate_id": "c" * 64, "certificate_pem": "pem"}})
    variables = controller.variables(device_root_ca=str(ROOT / "LICENSE"), iot_policy_name="p")
    status, out = controller.play("edge-1", variables, role("identity"))
    assert status == 0, out
    assert (controller.folder / "became").read_text().count("became") >= 5
    for name in ("iot_certificate", "iot_thing"):
        assert [call["_became"] for call in controller.arguments(name)] == [False]
    assert (controller.folder / "etc/edge-1/device.pem.crt").read_text() == "pem"


@pytest.mark.parametrize("length", [64, 65, 128])
def test_a_thing_has_a_name_of_up_to_128_characters(length: int, controller: Controller) -> None:
    controller.module("iot_certificate", {"certificate": {"certificate_id": "c" * 64}})
    variables = controller.variables(
        device_root_ca=str(ROOT / "LICENSE"), iot_policy_name="p", device_thing="t" * length
    )
    status, out = controller.play("edge-1", variables, role("identity"))
    assert status == 0, out
    [call] = controller.arguments("iot_certificate")
    assert call["thing_name"] == "t" * length
    assert "BEGIN CERTIFICATE REQUEST" in call["csr"]


@pytest.mark.parametrize("umask", [0o077, 0o027])
def test_the_services_user_can_read_what_root_installs_whatever_its_umask(umask: int, controller: Controller) -> None:
    lock = controller.folder / "lock.txt"
    lock.write_text("")
    variables = controller.variables(device_requirements=str(lock), device_home=str(controller.folder / "home"))
    before = os.umask(umask)
    try:
        status, out = controller.play("edge-1", variables, role("package"))
    finally:
        os.umask(before)
    assert status == 0, out
    home = controller.folder / "home"
    files = [path for path in home.rglob("*") if not path.is_symlink()]
    assert any(path.name == "iot-device" for path in files)
    assert [path for path in files if path.stat().st_mode & 0o004 == 0] == []
    assert [path for path in files if path.is_dir() and path.stat().st_mode & 0o001 == 0] == []


@pytest.mark.parametrize(
    ("system", "fix"),
    [
        ("ubuntu 22.04", "its packages python3.11 and python3.11-venv (universe) have a newer one"),
        ("debian 11", "Debian 11 has no package of a newer one"),
        ("slackware 15.0", "set device_python to one that every user can run"),
    ],
)
def test_an_older_python_is_refused_with_the_package_to_install(
    system: str, fix: str, controller: Controller
) -> None:
    old = controller.folder / "old-python"
    old.write_text("#!/bin/sh\necho False x86_64\n")
    old.chmod(0o755)
    variables = {"device_system_packages": [], "device_python": str(old), "device_system": {"stdout": system}}
    tasks = loaded("roles/device/tasks/host.yml")
    [judge] = [task for task in tasks if task["name"] == "Service's user can run Python"]
    found = {"device_python_found": {"stdout": "False x86_64", "stderr": "", "rc": 0}}
    load = {"ansible.builtin.include_role": {"name": "device", "tasks_from": "stop", "public": True}}
    status, out = controller.play("edge-1", controller.variables(**variables, **found), load, judge)
    assert status != 0
    assert fix in out


@pytest.mark.parametrize(("set_to", "batches"), [(None, 1), (1, 3), ("67%", 2)])
def test_hosts_change_in_the_batches_that_the_inventory_asks_for(
    set_to: int | str | None, batches: int, controller: Controller
) -> None:
    plays = loaded("playbooks/devices.yml")
    [serial] = [play["serial"] for play in plays if "serial" in play]
    controller.hosts = {f"edge-{number}": {} if set_to is None else {"device_serial": set_to} for number in (1, 2, 3)}
    group = {"hosts": "edge", "gather_facts": False, "tasks": [{"ansible.builtin.group_by": {"key": "devices_here"}}]}
    work = {"hosts": "devices_here", "gather_facts": False, "serial": serial, "tasks": [
        {"ansible.builtin.debug": {"msg": "batch of {{ ansible_play_batch | length }}"}, "run_once": True},
    ]}  # fmt: skip
    (controller.folder / "play.yml").write_text(json.dumps([group, work]))
    status, out = controller.run(controller.folder / "play.yml")
    assert status == 0, out
    assert out.count("batch of") == batches


def test_a_device_with_waiting_readings_is_not_removed(controller: Controller) -> None:
    variables = controller.variables()
    program = Path(variables["device_supervisor_programs_dir"], "device-edge-1.conf")
    program.touch()
    spool = Spool(Path(variables["device_state_dir"], "spool.db"))
    spool.take("edge-1", [degrees("edge-1", 1.0)])
    spool.close()
    status, out = controller.play("edge-1", variables, role("absent"))
    assert status != 0
    assert "1 readings in" in out
    assert "Nothing was removed" in out
    assert program.exists()
    calls = [call.split()[1] for call in controller.calls()]
    assert calls.index("stop") < calls.index("start"), "so that it can deliver them"


def test_the_unit_may_write_to_the_folder_of_its_metrics(controller: Controller) -> None:
    template = {"ansible.builtin.template": {"src": str(ROOT / "roles/device/templates/iot-device.service.j2"),
                                             "dest": str(controller.folder / "{{ inventory_hostname }}.service"),
                                             "mode": "0644"}}  # fmt: skip
    controller.hosts["edge-1"] = {"device_metrics_file": "/var/lib/node-exporter/iot_device.prom"}
    controller.hosts["edge-2"] = {"device_metrics_file": "{{ device_state_dir }}/metrics.prom",
                                  "device_address_families": ["AF_BLUETOOTH"]}  # fmt: skip
    load = {"ansible.builtin.include_role": {"name": "device", "tasks_from": "stop", "public": True}}
    variables = controller.variables(device_state_dir="/state", device_wheel={"digest": ""},
                                     device_settings={}, device_certificate={},
                                     device_requirements=str(ROOT / "requirements/device.txt"))  # fmt: skip
    status, out = controller.play("edge", variables, load, template)
    assert status == 0, out
    units = {host: (controller.folder / f"{host}.service").read_text() for host in ("edge-1", "edge-2")}
    assert "ReadWritePaths=/state /var/lib/node-exporter\n" in units["edge-1"]
    assert "ReadWritePaths=/state\n" in units["edge-2"]
    assert "RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX\n" in units["edge-1"]
    assert "RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX AF_BLUETOOTH\n" in units["edge-2"]


def test_a_key_is_on_the_disk_before_it_gets_its_name(controller: Controller) -> None:
    key = controller.folder / "key"
    controller.recorder("sync")
    make = {"ansible.builtin.command": {"argv": "{{ __device_make_key + ['" + str(key) + "'] }}"}}
    load = {"ansible.builtin.include_vars": str(ROOT / "roles/device/vars/main.yml")}
    status, out = controller.play("edge-1", {}, load, make)
    assert status == 0, out
    assert "PRIVATE KEY" in key.read_text()
    assert controller.calls() == [f"sync {key}.new", f"sync {key.parent}"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become the service's user")
@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ({}, "device_requirements to a copy of requirements/device.txt with the wheel's hash"),
        ({"device_wheels_offline": "/wheels"}, "device_requirements to a copy"),
        ({"device_wheels_offline": "/wheels", "device_requirements": "/lock.txt"}, ""),
        ({"__device_machines": [os.uname().machine], "device_metrics_file": "/nonexistent/a.prom"},
         "cannot write to /nonexistent"),
    ],
)  # fmt: skip
def test_a_host_that_lacks_something_is_refused_with_the_fix(
    given: dict[str, Any], fix: str, controller: Controller
) -> None:
    variables = {"__device_machines": [], "device_system_packages": []} | given
    status, out = controller.play("edge-1", controller.variables(), role("host") | {"vars": variables})
    assert (status != 0) == bool(fix), out
    assert fix in out


def wheel(folder: Path, name: str, version: str) -> str:
    """Make a wheel of one empty module, as one builds it for a machine that has none; returns its hash."""
    info, members = f"{name}-{version}.dist-info", {f"{name}.py": ""}
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    members[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
        records = [
            f"{member},sha256={base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).decode().rstrip('=')},"
            for member, content in members.items()
        ]
        archive.writestr(f"{info}/RECORD", "\n".join([*records, f"{info}/RECORD,,", ""]))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_wheel_built_for_the_machine_is_installed_by_its_hash(controller: Controller) -> None:
    offline = Path(controller.made("offline"))
    lock = controller.folder / "lock.txt"
    lock.write_text(f"awscrt==9.9 --hash=sha256:{wheel(offline, 'awscrt', '9.9')}\n")
    variables = controller.variables(device_wheels_offline=str(offline), device_requirements=str(lock))
    status, out = controller.play("edge-1", variables, role("package"))
    assert status == 0, out
    assert list(Path(variables["device_home"]).glob("venv/lib/python3*/site-packages/awscrt.py"))


def rendered(text: str) -> str:
    """Render a template that has plain variables only."""
    return re.sub(r"{{ \w+ }}", "x", text)


def test_a_moved_kit_still_starts(tmp_path: Path) -> None:
    kit, moved = tmp_path / "kit", tmp_path / "moved"
    (kit / "publisher").mkdir(parents=True)
    for name in ("requirements.txt", "publisher/iot_device.whl", "private.pem.key"):
        (kit / name).write_text(name)
    start = kit / "start.sh"
    start.write_text(rendered((ROOT / "roles/device_kit/templates/start.sh.j2").read_text()))
    start.chmod(0o755)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", kit / "venv"], check=True)
    script = kit / "venv/bin/iot-device"  # as pip writes it
    script.write_text(f"#!{kit}/venv/bin/python\nfrom iot_device.__main__ import main\nraise SystemExit(main())\n")
    script.chmod(0o755)
    installed = subprocess.run(["cksum", "requirements.txt", "publisher/iot_device.whl"], cwd=kit, check=True,
                               capture_output=True).stdout  # fmt: skip
    (kit / "venv/installed").write_bytes(installed)
    kit.rename(moved)
    done = subprocess.run([moved / "start.sh", "status", "--help"], capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": str(ROOT / "device")})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "show connection" in done.stdout.lower()
