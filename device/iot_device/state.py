"""What a running publisher reports: its state as JSON for status and doctor, and metrics for Prometheus.

The metrics file is for node_exporter's textfile collector.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Self

STALE_S = 30.0
LOCK_WAIT_S = 0.5  # a process that checks whether a publisher runs holds it for a moment
DROPPED = {"dropped_count": "count", "dropped_age": "age", "dropped_disk": "disk", "dropped_torn": "torn"}


class AlreadyRunningError(RuntimeError):
    """Another publisher uses the same folder."""


class Lock:
    """Held by the one publisher of a state folder while it runs."""

    def __init__(self, folder: Path) -> None:
        """Raise AlreadyRunningError if another holds it; OSError if the folder cannot be used."""
        self._file: IO[str] = (folder / "lock").open("a+")
        if os.geteuid() == 0:  # the service must be able to open it later
            os.fchown(self._file.fileno(), folder.stat().st_uid, folder.stat().st_gid)
        until = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > until:
                    self._file.close()
                    raise AlreadyRunningError(f"another iot-device uses {folder} already") from error
                time.sleep(0.01)
            else:
                return

    def release(self) -> None:
        """Release the lock."""
        self._file.close()


@contextlib.contextmanager
def locked(*folders: Path) -> Iterator[None]:
    """Keep publishers from starting in these folders, as far as this user may. Raises AlreadyRunningError."""
    locks: list[Lock] = []
    try:
        for folder in {one.resolve() for one in folders}:
            with contextlib.suppress(OSError):
                locks.append(Lock(folder))
        yield
    finally:
        for lock in locks:
            lock.release()


def is_running(folder: Path) -> bool:
    """Return whether a publisher holds the folder. It takes a shared lock for a moment, and makes no file."""
    try:
        with (folder / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@dataclass(frozen=True)
class State:
    """A running publisher at `written`; times are seconds since 1970."""

    written: float
    process: int
    thing: str
    endpoint: str
    connected: bool
    since: float
    """When it was connected, or lost the connection."""
    refusal: str
    """Why there is no connection, or why the broker refuses readings; empty if all is well."""
    refusal_name: str
    last_acknowledged: float | None
    rate: float
    """Most publishes a second at the moment; 0 for no limit."""
    taken_over: float = 0.0
    """When another client last connected under this name; 0 for never."""

    def write(self, folder: Path) -> None:
        """Replace the file. Raises OSError."""
        replace(folder / "state.json", json.dumps(asdict(self)), 0o600)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the last state that was written; None if there is none that can be read."""
        try:
            return cls(**json.loads((folder / "state.json").read_text()))
        except (OSError, ValueError, TypeError, RecursionError):
            return None


def write_metrics(path: Path, counters: Mapping[str, int], gauges: Mapping[str, float | None]) -> None:
    """Replace the file, readable for everybody since node_exporter runs as its own user. Raises OSError."""
    lines = []
    for name, text in (
        ("taken", "Readings taken from the sensor and stored."),
        ("acknowledged", "Readings that the broker has acknowledged."),
        ("quarantined", "Readings that the broker will never accept, kept apart."),
    ):
        lines += _metric(f"readings_{name}_total", "counter", text, {"": counters.get(name, 0)})
    dropped = {f'{{reason="{reason}"}}': counters.get(name, 0) for name, reason in DROPPED.items()}
    lines += _metric("readings_dropped_total", "counter", "Readings dropped.", dropped)
    lines += _metric("spool_torn_total", "counter", "Spools that the disk has damaged, each replaced by a new one.",
                     {"": counters.get("torn", 0)})  # fmt: skip
    for name, text in GAUGES.items():
        value = gauges.get(name)
        if value is not None:
            lines += _metric(name, "gauge", text, {"": value})
    replace(path, "\n".join(lines) + "\n", 0o644)


GAUGES = {
    "readings_waiting": "Readings that wait for the broker's acknowledgement.",
    "oldest_waiting_seconds": "Age of the oldest waiting reading.",
    "totals_estimated": "Whether damage to the spool has left the totals to be guessed.",
    "connected": "Whether there is a connection to the broker.",
    "publish_rate_limit": "Most publishes a second at the moment.",
    "certificate_expiry_timestamp_seconds": "When the device's certificate ends, in seconds since 1970.",
}


def _metric(name: str, kind: str, text: str, values: Mapping[str, Any]) -> list[str]:
    head = [f"# HELP iot_device_{name} {text}", f"# TYPE iot_device_{name} {kind}"]
    return head + [f"iot_device_{name}{labels} {value:.10g}" for labels, value in values.items()]


def replace(path: Path, content: str, mode: int) -> None:
    """Replace a file's content as a whole. Raises OSError."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(content)
    partial.chmod(mode)  # whatever the umask
    partial.rename(path)


def age(instant: float) -> float:
    """Return seconds since an instant."""
    return time.time() - instant
