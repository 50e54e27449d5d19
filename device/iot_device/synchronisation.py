"""Readings taken before this host's clock was synchronised: held, then corrected by the clock that nobody sets.

A Raspberry Pi has no clock that runs while it is off: it starts at the time of its last shutdown, days ago. Only a host
with a time service is waited for. A restarted publisher corrects what the former one took, too, unless the host itself
was restarted.
"""

import contextlib
import ctypes
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from iot_device.reading import now
from iot_device.spool import Shift, Spool
from iot_device.state import replace

log = logging.getLogger(__name__)

TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
TIMEX_BYTES = 256  # struct timex is smaller everywhere
# What systemd-timesyncd, chrony and ntpd keep while they run
SERVICES = (Path("/run/systemd/timesync"), Path("/run/chrony"), Path("/run/ntpd.pid"), Path("/run/openntpd.pid"))
PATIENCE_S = 120.0  # of a connection: where the broker is reached, a time server should be
BOOT = Path("/proc/sys/kernel/random/boot_id")  # another one after each start of the host
STEP_MS = 100  # smaller corrections are the clock's own drift


def synchronised() -> bool | None:
    """Return what the kernel says of the clock; None if it does not say."""
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
    state = adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    return None if state < 0 else state != TIME_ERROR


def is_awaited() -> bool:
    """Return whether the clock is not synchronised, and a time service runs that will do so."""
    return synchronised() is False and any(one.exists() for one in SERVICES)


def offset() -> int:
    """Return by how many ms the clock is ahead of the time since the host started, suspended or not."""
    return now() - time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class Hold:
    """Holds the readings of one publisher until the clock is synchronised, then corrects them."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        self._file = spool.path.with_name("clock.json")
        self._offsets = _noted(self._file)  # from which position on the clock had which offset
        self._connected: float | None = None
        self.holds = bool(self._offsets)
        if is_awaited():
            self.holds = True
            log.warning("the clock is not synchronised yet: readings are held until it is, and then corrected")

    @contextlib.contextmanager
    def taking(self) -> Iterator[None]:
        """Within it, a reading gets its time and its place in the spool."""
        with self._lock:
            if self.holds:
                found = offset()
                if not self._offsets or abs(found - self._offsets[-1][1]) > STEP_MS:
                    self._offsets.append((self._spool.last + 1, found))
                    with contextlib.suppress(OSError):  # a restart leaves these readings as they are, then
                        noted = {"boot": BOOT.read_text(), "offsets": self._offsets}
                        replace(self._file, json.dumps(noted), 0o600)
            yield

    def check(self, connected: bool) -> bool:
        """Correct the readings if the clock is synchronised by now. Returns whether they are still held."""
        if not self.holds:
            return False
        if synchronised() is not False:
            try:
                self._correct()
            except (sqlite3.Error, OSError) as error:
                log.warning("the times of readings cannot be corrected yet: %s", error)
        moment = time.monotonic()
        self._connected = (self._connected or moment) if connected else None
        if self.holds and self._connected is not None and moment - self._connected > PATIENCE_S:
            self.holds = False
            with contextlib.suppress(OSError):
                self._file.unlink()
            log.error("the clock is not synchronised after %.0f s of connection: readings are sent with its time; "
                      "does a firewall block UDP port 123? timedatectl timesync-status", PATIENCE_S)  # fmt: skip
        return self.holds

    def _correct(self) -> None:
        with self._lock:
            found = offset()
            ends = [*(first for first, _ in self._offsets[1:]), None]
            shifts = [Shift(one[0], end, found - one[1]) for one, end in zip(self._offsets, ends, strict=True)]
            self._file.unlink(missing_ok=True)  # before: an interrupted correction must not be made twice
            count = self._spool.shift([one for one in shifts if abs(one.milliseconds) > STEP_MS])
            self.holds = False
        log.warning("the clock is synchronised: corrected the times of %d readings", count)


def _noted(path: Path) -> list[tuple[int, int]]:
    """Return the offsets that a former publisher noted; none if the host has been restarted since."""
    try:
        noted = json.loads(path.read_text())
        offsets = [(int(first), int(found)) for first, found in noted["offsets"]]
        return offsets if noted["boot"] == BOOT.read_text() else []
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []
