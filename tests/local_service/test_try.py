"""`make try` as users run it, on ports and in a folder of its own: a reading comes to the page, and nothing stays."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.waiting import until

PORTS = ("readings", "receiver", "receiver_tls", "broker", "aws", "rules_engine")
THING = "foreign-1"
PROGRAM = ROOT / "build/venv/try/bin/ansible-playbook"


@dataclass
class Try:
    """What was started: the folder of its state and its ports."""

    folder: Path
    ports: dict[str, int]

    def play(self, playbook: str, status: int = 0) -> str:
        """Run a playbook of the inventory try; its output. Fails the test with it where the playbook ends otherwise."""
        variables = json.dumps({"try_ports": self.ports, "sandbox_state_dir": str(self.folder)})
        done = subprocess.run(
            [PROGRAM, "-i", "inventory/try", f"playbooks/{playbook}.yml", "-e", variables],
            cwd=ROOT,
            env=os.environ | {"ANSIBLE_PIPELINING": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def latest(self, device: str) -> dict[str, Any]:
        """The latest reading that the API shows; empty while there is none."""
        url = f"http://127.0.0.1:{self.ports['readings']}/v1/devices/{device}/latest"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                document: dict[str, Any] = json.load(answer)
                return document
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return {}
            raise

    def processes(self) -> list[str]:
        """Command lines of the processes that carry the folder's mark."""
        mark = f"IOT_RECEIVER_SANDBOX={self.folder}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes().split(b"\0"):
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue  # it ended, or is another user's
        return found


@pytest.fixture(scope="module")
def started() -> Iterator[Try]:
    """What make try starts."""
    subprocess.run(["make", "build/venv/try/programs"], cwd=ROOT, check=True, timeout=900)
    folder = Path(tempfile.mkdtemp(prefix="try-")) / "state"  # pytest's own are too long for sockets
    run = Try(folder, {name: free_port() for name in PORTS})
    try:
        run.play("try")
        yield run
    finally:
        run.play("try_down")
        shutil.rmtree(folder.parent)


def test_a_reading_of_a_foreign_client_is_shown(started: Try, tmp_path: Path) -> None:
    certificate, key = _enrol(started, tmp_path)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=THING)
    client.tls_set(str(started.folder / "ca/ca.crt"), str(certificate), str(key))
    # The broker takes up a certificate about a second after it was issued.
    until(lambda: _connected(client, started.ports["broker"]), 60)
    client.loop_start()
    published = client.publish("things/telemetry", json.dumps({"deviceId": THING, "temp": 21.25}), qos=1)
    published.wait_for_publish(30)
    until(lambda: started.latest(THING), 60)
    client.loop_stop()
    assert "21.25" in json.dumps(started.latest(THING))


def test_the_page_shows_degrees(started: Try) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{started.ports['readings']}/v1/health", timeout=30) as answer:
        measurements = json.load(answer)["measurements"]
    assert [(each["name"], each["unit"]) for each in measurements] == [("temperature", "°C")]


def test_a_second_run_changes_nothing(started: Try) -> None:
    assert set(re.findall(r" changed=(\d+)", started.play("try"))) == {"0"}


def test_a_port_that_is_taken_is_named_before_anything_starts(started: Try, tmp_path: Path) -> None:
    second = Try(tmp_path / "state", started.ports)
    told = " ".join(second.play("try", status=2).split())
    assert f"port {started.ports['readings']} (readings)" in told
    assert "or set other ports in try_ports" in told
    assert not second.folder.exists()


def test_it_ends_with_nothing_left(started: Try) -> None:
    assert started.processes()
    assert "folder" in started.play("try_down")
    assert not started.folder.exists()
    assert not started.processes()
    mounts = Path("/proc/mounts").read_text()
    assert str(started.folder) not in mounts
    assert "Nothing was running" in started.play("try_down")


def _enrol(run: Try, folder: Path) -> tuple[Path, Path]:
    client = boto3.client(
        "iot",
        endpoint_url=f"http://127.0.0.1:{run.ports['aws']}",
        region_name="us-east-2",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_thing(thingName=THING)
    made = client.create_keys_and_certificate(setAsActive=True)
    client.attach_policy(policyName="iot-thing-policy", target=made["certificateArn"])
    client.attach_thing_principal(thingName=THING, principal=made["certificateArn"])
    certificate, key = folder / "device.crt", folder / "device.key"
    certificate.write_text(made["certificatePem"])
    key.write_text(made["keyPair"]["PrivateKey"])
    return certificate, key


def _connected(client: mqtt.Client, port: int) -> bool:
    try:
        client.connect("localhost", port)
    except OSError:
        return False
    deadline = time.monotonic() + 5
    while not client.is_connected() and time.monotonic() < deadline:
        client.loop(0.1)
    return client.is_connected()
