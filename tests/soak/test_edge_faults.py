"""Faults around an edge host, one after the other; each reading that it took ends as one row.

Three counts must agree: the spool's own, which is stored in the same commit as the reading; the ledger's, of what the
broker acknowledged; the table's. EDGE_LINK_DOWN_SECONDS and EDGE_SPOOLED make the dead link's test shorter.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.deployment.conftest import Playbook
from tests.deployment.edge import PROGRAM, Aws, arrived, count, cut_power, now, on
from tests.deployment.telemetry import ENDPOINT, thing
from tests.support.paths import ROOT, STATE

HOST = "edge-1"
FAULTS = 20
DOWN_SECONDS = float(os.environ.get("EDGE_LINK_DOWN_SECONDS", "600"))
SPOOLED = int(os.environ.get("EDGE_SPOOLED", "50000"))
LEDGER = "/var/lib/iot-device/soak.jsonl"
DROP_IN = "/etc/systemd/system/iot-device.service.d/soak.conf"
CONNECTIONS, RATE, SECONDS = 25, 2000, 20
DEAD_LINK = """table inet soak {
  chain out { type filter hook output priority 0; tcp sport 22 accept; drop; }
  chain in { type filter hook input priority 0; tcp dport 22 accept; drop; }
}
"""


class Publisher:
    """The host's publisher with a ledger, started from a point at which it had delivered everything."""

    def __init__(self, host: str) -> None:
        self.host = host
        on(host, "systemctl", "stop", "iot-device")
        self.before, waiting = count(host)
        assert waiting == 0
        self.since = now()

    def every(self, interval: float, *options: str) -> None:
        """Restart it with another interval."""
        command = " ".join([PROGRAM, "run", "--config", "/etc/iot-device/iot-device.toml", "--ledger", LEDGER,
                            f"--interval={interval:.4f}", *options])
        on(self.host, "sh", "-c", f"'mkdir -p {DROP_IN.rpartition('/')[0]} && cat >{DROP_IN}'",
           given=f"[Service]\nExecStart=\nExecStart={command}\n")
        on(self.host, "systemctl", "daemon-reload")
        on(self.host, "systemctl", "restart", "iot-device")

    def wait_drained(self, seconds: float) -> None:
        """Wait until only the newest readings are in the spool."""
        until = time.monotonic() + seconds
        while count(self.host)[1] > 20:
            assert time.monotonic() < until, f"{count(self.host)[1]} readings are still in the spool"
            time.sleep(2)

    def proven(self, aws: Aws) -> list[dict[str, Any]]:
        """Stop it and compare: readings taken, acknowledged, stored. Returns the ledger."""
        on(self.host, "systemctl", "stop", "iot-device")
        (total, waiting), end = count(self.host), now()
        ledger = [json.loads(line) for line in on(self.host, "cat", LEDGER).splitlines()]
        noted = {line["messageId"] for line in ledger}
        stored = arrived(aws, self.host, (self.since, end), len(noted), wait=60.0)
        found = {"taken": total - self.before, "waiting": waiting, "acknowledged": len(noted),
                 "rows": len(stored), "different rows": len(set(stored))}
        print(found)
        assert waiting == 0, found
        assert set(stored) == noted, found
        assert len(stored) == len(noted) == total - self.before, found
        return ledger


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    """The host's publisher; afterwards it is again as the role configured it."""
    try:
        yield Publisher(HOST)
    finally:
        on(HOST, "rm", "-rf", DROP_IN.rpartition("/")[0], LEDGER)
        on(HOST, "systemctl", "daemon-reload")
        on(HOST, "systemctl", "restart", "iot-device")


@contextmanager
def dead_link(host: str) -> Iterator[None]:
    """Drop the host's packets silently, except SSH."""
    inside = ["ip", "netns", "exec", f"iot-sandbox.{host}", "nft"]
    subprocess.run([*inside, "-f", "-"], input=DEAD_LINK, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run([*inside, "delete", "table", "inet", "soak"], check=True)


def busiest_second(instants: list[float]) -> int:
    """The largest number of these times within one second."""
    most = first = 0
    for last, instant in enumerate(instants):
        while instant - instants[first] >= 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_the_link_is_dead_while_the_spool_fills(aws: Aws, publisher: Publisher) -> None:
    publisher.every(1)
    time.sleep(5)
    with dead_link(HOST):
        down = time.monotonic()
        publisher.every(DOWN_SECONDS / SPOOLED * 0.9)
        while time.monotonic() < down + DOWN_SECONDS or count(HOST)[1] < SPOOLED:
            assert time.monotonic() < down + 2 * DOWN_SECONDS, count(HOST)
            time.sleep(1)
        publisher.every(1)
        assert "fault" in on(HOST, PROGRAM, "status", "--json", check=False)
    back, backlog = time.time(), count(HOST)[1]
    publisher.wait_drained(90 + backlog / 80)
    ledger = publisher.proven(aws)
    drained = [line for line in ledger if line["acknowledged_at"] > back]
    published = sorted({line["published_at"] for line in drained})  # of each publish, which holds several readings
    connected = published[0]
    late = [line["acknowledged_at"] - line["published_at"] for line in drained]
    fresh = [line["acknowledged_at"] - stamp for line in drained if (stamp := instant(line["ts"])) > connected + 1]
    last = max(line["acknowledged_at"] for line in drained if instant(line["ts"]) < connected)
    rate = sum(line["acknowledged_at"] <= last for line in drained) / (last - connected)
    figures = {"backlog": backlog, "reconnected after s": connected - back, "drained in s": last - connected,
               "rate": rate, "busiest second": busiest_second(published), "fresh": len(fresh),
               "fresh p50": quantiles(fresh)[1], "fresh at most": max(fresh), "answer at most": max(late)}
    print({name: round(value, 3) for name, value in figures.items()})
    assert figures["busiest second"] <= 100
    assert 833 < rate < 1000  # 50,000 in a minute, and no more than DynamoDB stores of one device
    assert max(fresh) < 5  # seconds from the sensor to the acknowledgement, while the backlog drains


def instant(stamp: str) -> float:
    """Seconds since 1970 of a reading's ts."""
    return time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone + float(stamp[19:-1])


def test_the_host_loses_its_power_again_and_again(aws: Aws, publisher: Publisher) -> None:
    publisher.every(0.1, "--reconnect-max=1")
    for round_ in range(FAULTS):
        time.sleep(round_ * 0.1)  # before, while and after it connects
        cut_power(HOST)
    time.sleep(2)
    publisher.wait_drained(60)
    assert len(publisher.proven(aws)) > FAULTS


def test_the_broker_is_stopped_and_started_again_and_again(aws: Aws, publisher: Publisher) -> None:
    publisher.every(0.05, "--reconnect-max=1")
    for round_ in range(FAULTS):
        time.sleep(0.2 + round_ * 0.1)
        for order in ("stop", "start"):
            subprocess.run([f"{STATE}/supervisor/control", order, "broker"], check=True, capture_output=True)
    time.sleep(3)
    publisher.wait_drained(60)
    assert len(publisher.proven(aws)) > 10 * FAULTS


def test_a_reading_a_second_costs_next_to_nothing() -> None:
    host, seconds = "edge-2", 60
    process = on(host, "systemctl", "show", "--property=MainPID", "--value", "iot-device").strip()

    def ticks() -> int:
        fields = on(host, "cat", f"/proc/{process}/stat").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(seconds)
    share = (ticks() - before) / os.sysconf("SC_CLK_TCK") / seconds
    status = dict(line.split(":", 1) for line in on(host, "cat", f"/proc/{process}/status").splitlines())
    resident = int(status["VmRSS"].split()[0]) / 1024
    print(f"{resident:.1f} MiB resident, {share:.2%} of a core")
    assert resident <= 60
    assert share <= 0.02


def test_a_fleet_is_simulated_at_two_thousand_readings_a_second(aws: Aws, tmp_path: Path) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            name = stack.enter_context(thing(aws("iot"), tmp_path))
            kit = tmp_path / "kits" / name
            kit.mkdir(parents=True)
            given = {"endpoint": ENDPOINT, "thing": name, "certificate": f"{tmp_path}/{name}.crt",
                     "key": f"{tmp_path}/{name}.key", "ca": f"{STATE}/ca/ca.crt"}
            (kit / "iot-device.toml").write_text("".join(f'{key} = "{value}"\n' for key, value in given.items()))
        time.sleep(2)  # the broker looks at the IoT API each second
        since = now()
        program = ROOT / "build/123456789012/us-east-2/iot-receiver/verify/publisher/venv/bin/iot-device"
        done = subprocess.run(
            [program, "simulate", f"--kits={tmp_path}/kits", f"--devices={CONNECTIONS}", f"--rate={RATE}",
             f"--count={RATE * SECONDS}", f"--ledger={tmp_path}/ledger"], capture_output=True, text=True, check=False)
        print(done.stdout + done.stderr)  # the rate depends on the machine's other users: shown, not asserted
        assert done.returncode == 0
        sent: dict[str, set[str]] = {}
        for line in map(json.loads, (tmp_path / "ledger").read_text().splitlines()):
            sent.setdefault(line["deviceId"], set()).add(line["messageId"])
        for name, ids in sent.items():
            stored = arrived(aws, name, (since, "9"), len(ids), wait=120.0)
            assert len(stored) == len(ids)
            assert set(stored) == ids
        assert sum(map(len, sent.values())) == RATE * SECONDS


def test_one_host_is_down(playbook: Playbook, tmp_path: Path) -> None:
    (tmp_path / "down.ini").write_text("[edge]\nedge-2 ansible_host=10.213.0.99\n")
    done = playbook("site.yml", "--tags", "device", "-i", "inventory/sandbox", "-i", str(tmp_path / "down.ini"))
    assert done.status != 0
    assert "edge-2 could not be reached" in done.output
    assert "site.yml --tags device --limit localhost,edge-2" in done.output
    [recap] = [line for line in done.output.splitlines() if line.startswith("edge-1 ") and "ok=" in line]
    assert "failed=0" in recap


def test_a_certificate_is_renewed_and_the_old_one_is_gone(playbook: Playbook, aws: Aws) -> None:
    iot = aws("iot")
    [old] = iot.list_thing_principals(thingName="edge-2")["principals"]
    done = playbook("site.yml", "--tags", "device", "--limit", "localhost,edge-2", "-e", "device_renewal_days=100000")
    assert done.status == 0, done.output[-3000:]
    [new] = iot.list_thing_principals(thingName="edge-2")["principals"]
    assert new != old
    with pytest.raises(ClientError, match="ResourceNotFound"):
        iot.describe_certificate(certificateId=old.rpartition("/")[2])
    time.sleep(5)
    assert json.loads(on("edge-2", PROGRAM, "doctor", "--json"))["faults"] == 0


def test_a_host_goes_and_comes_back(playbook: Playbook, aws: Aws) -> None:
    away = ("site.yml", "--tags", "device", "--limit", "localhost,edge-2")
    gone = playbook(*away, "-e", "device_state=absent")
    assert gone.status == 0, gone.output[-3000:]
    assert "edge-2" not in [one["thingName"] for one in aws("iot").list_things()["things"]]
    assert playbook(*away).status == 0
    assert playbook(*away).changed == 0
    time.sleep(5)
    assert json.loads(on("edge-2", PROGRAM, "doctor", "--json"))["faults"] == 0


def test_a_kit_runs_on_a_bare_host_until_it_is_revoked(playbook: Playbook, aws: Aws, tmp_path: Path) -> None:
    settings = {"device_kit_things": ["bare-1"], "device_kit_folder": str(tmp_path),
                "device_kit_wheels_offline": str(STATE / "edge/wheels")}
    made = playbook("site.yml", "--tags", "device_kit", "-e", json.dumps(settings))
    assert made.status == 0, made.output[-3000:]
    folder, since = "/var/tmp/bare", now()
    place = STATE / "edge/edge-2/root" / folder.lstrip("/")
    start = ["runuser", "-u", "daemon", "--", "sh", f"{folder}/kit/start.sh"]
    try:
        place.mkdir()
        shutil.copy(tmp_path / "bare-1.zip", place)
        on("edge-2", "python3", "-m", "zipfile", "-e", f"{folder}/bare-1.zip", f"{folder}/kit")
        on("edge-2", "chown", "-R", "daemon", folder)
        sent = json.loads(on("edge-2", *start, "publish", "--temperature", "4.5"))
        assert arrived(aws, "bare-1", (since, "9"), 1) == [sent["messageId"]]
        settings["device_kit_revoked"] = ["bare-1"]
        assert playbook("site.yml", "--tags", "device_kit", "-e", json.dumps(settings)).status == 0
        assert not (tmp_path / "bare-1.zip").exists()
        time.sleep(2)  # the broker looks at the IoT API each second
        assert on("edge-2", *start, "publish", check=False) == ""
        said = on("edge-2", *start, "doctor", check=False)
        assert "the broker refuses this device" in said
        assert "device_kit_reissue" in said
    finally:
        shutil.rmtree(place)
