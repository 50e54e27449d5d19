"""Edge hosts: real ones under systemd, reached by SSH, whose power is cut; every reading of theirs is one row."""

import json
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import ROOT, STATE, TABLE

Aws = Callable[[str], Any]
HOSTS = {"edge-1": "10.213.0.21", "edge-2": "10.213.0.22"}
CUTS = 3


def on(host: str, *command: str, given: str = "", check: bool = True) -> str:
    """Run a command on a host by SSH, as its operator."""
    options = ["-F", "/dev/null", "-i", str(STATE / "edge/key"), "-o", f"UserKnownHostsFile={STATE}/edge/known_hosts",
               "-o", "ConnectTimeout=5", "-o", "BatchMode=yes"]
    done = subprocess.run(["ssh", *options, f"root@{HOSTS[host]}", *command], capture_output=True, text=True,
                          input=given, timeout=60, check=False)
    assert done.returncode == 0 or not check, done.stderr + done.stdout
    return done.stdout


def taken(host: str) -> int:
    """Count the readings ever taken by a publisher that is stopped, all of which it has delivered."""
    program = """import sqlite3
database = sqlite3.connect("/var/lib/iot-device/spool.db")
print(*database.execute("SELECT value, (SELECT count(*) FROM readings) FROM counters WHERE name = 'taken'").fetchone())
"""
    total, waiting = map(int, on(host, "python3", "-", given=program).split())
    assert waiting == 0
    return total


def now() -> str:
    """This instant, as rows have it; hosts have this machine's clock."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")[:23]


def rows(aws: Aws, host: str, since: str, until: str) -> list[str]:
    """The message ids of a host's rows between two instants."""
    pages = aws("dynamodb").get_paginator("query").paginate(
        TableName=TABLE, KeyConditionExpression="deviceId = :d AND #t BETWEEN :a AND :b", ConsistentRead=True,
        ExpressionAttributeNames={"#t": "Time"},
        ExpressionAttributeValues={":d": {"S": host}, ":a": {"S": since}, ":b": {"S": until}})
    return [item["Time"]["S"].partition("#")[2] for page in pages for item in page["Items"]]


@pytest.mark.parametrize("host", HOSTS)
def test_its_service_runs_hardened_under_systemd(host: str) -> None:
    assert on(host, "cat", "/proc/1/comm").strip() == "systemd"
    assert on(host, "systemctl", "is-active", "iot-device").strip() == "active"
    on(host, "systemd-analyze", "security", "--threshold=30", "--no-pager", "iot-device")
    found = json.loads(on(host, "/opt/iot-device/venv/bin/iot-device", "status", "--json"))
    assert found["faults"] == 0, found


@pytest.mark.parametrize("host", HOSTS)
def test_its_key_is_nowhere_else(host: str) -> None:
    key = on(host, "cat", "/etc/iot-device/private.pem.key").splitlines()[1]
    own = STATE / "edge" / host
    for folder in (ROOT / "build", STATE):
        found = subprocess.run(["grep", "--recursive", "--text", "--files-with-matches", "--fixed-strings", "--file=-",
                                "--exclude-dir=root", "--devices=skip", str(folder)],
                               input=key, capture_output=True, text=True, check=False).stdout
        assert not [path for path in found.splitlines() if not path.startswith(str(own))]


def test_a_host_whose_power_is_cut_loses_and_doubles_nothing(aws: Aws) -> None:
    on("edge-1", "systemctl", "stop", "iot-device")
    before, since = taken("edge-1"), now()
    on("edge-1", "systemctl", "start", "iot-device")
    for _ in range(CUTS):
        time.sleep(2.5)
        subprocess.run([f"{STATE}/edge/power", "off", "edge-1", "iot-sandbox"], check=True, capture_output=True)
        until = time.monotonic() + 60
        while not on("edge-1", "systemctl", "is-active", "iot-device", check=False).startswith("active"):
            assert time.monotonic() < until, "the host did not come back"
            time.sleep(0.5)
    time.sleep(2)
    on("edge-1", "systemctl", "stop", "iot-device")
    total, end = taken("edge-1") - before, now()
    on("edge-1", "systemctl", "start", "iot-device")
    until = time.monotonic() + 20
    while len(rows(aws, "edge-1", since, end)) < total and time.monotonic() < until:
        time.sleep(0.5)
    found = rows(aws, "edge-1", since, end)
    assert total > CUTS
    assert len(found) == len(set(found)) == total
