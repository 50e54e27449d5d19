"""The sandbox's edge hosts: commands on them, and the rows of their readings."""

import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.deployment.conftest import TABLE
from tests.support.paths import STATE

Aws = Callable[[str], Any]
HOSTS = {"edge-1": "10.213.0.21", "edge-2": "10.213.0.22"}
PROGRAM = "/opt/iot-device/venv/bin/iot-device"
COUNT = """import sqlite3
database = sqlite3.connect("/var/lib/iot-device/spool.db", timeout=20)
print(*database.execute("SELECT value, (SELECT count(*) FROM readings) FROM counters WHERE name = 'taken'").fetchone())
"""


def on(host: str, *command: str, given: str = "", check: bool = True, limit: int = 60) -> str:
    """Run a command on a host by SSH, as its operator."""
    options = ["-F", "/dev/null", "-i", str(STATE / "edge/key"), "-o", f"UserKnownHostsFile={STATE}/edge/known_hosts",
               "-o", "ConnectTimeout=5", "-o", "BatchMode=yes"]
    done = subprocess.run(["ssh", *options, f"root@{HOSTS[host]}", *command], capture_output=True, text=True,
                          input=given, timeout=limit, check=False)
    assert done.returncode == 0 or not check, done.stderr + done.stdout
    return done.stdout


def count(host: str) -> tuple[int, int]:
    """The readings that a host has ever taken, and those still in its spool, which counts with each commit."""
    total, waiting = map(int, on(host, "python3", "-", given=COUNT).split())
    return total, waiting


def taken(host: str) -> int:
    """Count the readings that a stopped publisher has ever taken; it must have delivered all of them."""
    total, waiting = count(host)
    assert waiting == 0
    return total


def cut_power(host: str) -> None:
    """Cut a host's power, and wait until its publisher runs again."""
    subprocess.run([f"{STATE}/edge/power", "off", host, "iot-sandbox"], check=True, capture_output=True)
    until = time.monotonic() + 60
    while not on(host, "systemctl", "is-active", "iot-device", check=False).startswith("active"):
        assert time.monotonic() < until, "the host did not come back"
        time.sleep(0.5)


def now() -> str:
    """The time now, in the rows' format; hosts share this machine's clock."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")[:23]


def rows(aws: Aws, host: str, since: str, until: str) -> list[str]:
    """The message ids of a host's rows between two instants."""
    pages = aws("dynamodb").get_paginator("query").paginate(
        TableName=TABLE, KeyConditionExpression="deviceId = :d AND #t BETWEEN :a AND :b", ConsistentRead=True,
        ProjectionExpression="#t", ExpressionAttributeNames={"#t": "Time"},
        ExpressionAttributeValues={":d": {"S": host}, ":a": {"S": since}, ":b": {"S": until}})
    return [item["Time"]["S"].partition("#")[2] for page in pages for item in page["Items"]]


def arrived(aws: Aws, host: str, span: tuple[str, str], number: int, wait: float = 20.0) -> list[str]:
    """The message ids of a host's rows between two instants, once there are so many, or after some seconds."""
    end = time.monotonic() + wait
    while True:
        found = rows(aws, host, *span)
        if len(found) >= number or time.monotonic() > end:
            return found
        time.sleep(0.5)
