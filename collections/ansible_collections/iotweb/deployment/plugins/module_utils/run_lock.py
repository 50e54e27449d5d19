# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps two runs of one deployment apart: a parameter of AWS Systems Manager, which only one of them can create.

It needs nothing that a deployment makes first, and costs nothing. PutParameter without Overwrite fails where the
parameter exists (https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html).
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Record = dict[str, Any]

# The ansible-playbook process whose callback will release what is taken; 0 where that callback is not enabled.
RUN = {"pid": 0}


def machine() -> str:
    """What process numbers of this run are unique in: this start of the machine, and its process namespace.

    Empty where the system does not say; nothing is then concluded from process numbers.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def started(pid: int) -> str:
    """When a process of this machine began, in the kernel's ticks, since numbers are reused; empty if it has ended."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == "Z" else str(fields[18])


def user() -> str:
    """The user's name; a container may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def record(caller: str, playbooks: str) -> Record:
    """What a run says about itself while it holds the lock."""
    return {
        "id": uuid.uuid4().hex[:12],
        "user": user(),
        "host": socket.gethostname(),
        "caller": caller,
        "playbooks": playbooks,
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "pid": RUN["pid"],
        "started": started(RUN["pid"]),
    }


def described(holder: Record) -> str:
    """Who holds the lock, for people."""
    name, host, caller, pid, since, playbooks = (
        holder.get(field, "?") for field in ("user", "host", "caller", "pid", "since", "playbooks"))  # fmt: skip
    return f"{name} on {host} ({caller}), process {pid}, since {since}, running {playbooks}"


def ended(holder: Record) -> bool:
    """Whether the run that holds the lock is certain to have ended: it was on this machine, and its process is gone."""
    ours = bool(holder.get("machine")) and holder["machine"] == machine()
    return ours and started(int(holder["pid"])) != holder["started"]


@contextmanager
def alone() -> Iterator[None]:
    """Keep out other runs of this machine, whoever's they are."""
    root = os.open("/", os.O_RDONLY)
    try:
        fcntl.flock(root, fcntl.LOCK_EX)
        yield
    finally:
        os.close(root)


class RunLock:
    """The lock of one deployment in one account and region."""

    def __init__(self, region: str, deployment: str) -> None:
        import boto3  # noqa: PLC0415 - it takes time, and the callback loads this file in runs without a lock as well

        self._ssm = boto3.session.Session(region_name=region).client("ssm")
        self._deployment = deployment
        self.name = f"/iot-deployment/{deployment}/run-lock"

    def take(self, mine: Record) -> Record | None:
        """Take the lock, also from a run that has ended; return who holds it otherwise, and None once it is ours."""
        if self._created(mine):
            return None
        holder = self.holder()
        if holder is None:  # released this moment
            return self.take(mine)
        if not ended(holder):
            return holder
        with alone():  # or two runs would each remove what they take for the ended one's
            self.release(holder["id"])
        return self.take(mine)

    def _created(self, mine: Record) -> bool:
        try:
            self._ssm.put_parameter(
                Name=self.name, Type="String", Value=json.dumps(mine), Overwrite=False,
                Description="Exists while a playbook changes this deployment.",
                Tags=[{"Key": "Deployment", "Value": self._deployment}],
            )  # fmt: skip
        except self._ssm.exceptions.ParameterAlreadyExists:
            return False
        return True

    def holder(self) -> Record | None:
        """Who holds the lock; None for nobody."""
        try:
            value: str = self._ssm.get_parameter(Name=self.name)["Parameter"]["Value"]
        except self._ssm.exceptions.ParameterNotFound:
            return None
        try:
            found = json.loads(value)
        except ValueError:
            found = None
        return found if isinstance(found, dict) and "id" in found else {"id": value[:40]}

    def release(self, identifier: str) -> bool:
        """Remove the lock if it is the one of this id; return whether it was."""
        holder = self.holder()
        if holder is None or holder["id"] != identifier:
            return False
        with suppress(self._ssm.exceptions.ParameterNotFound):
            self._ssm.delete_parameter(Name=self.name)
        return True
