"""Tells systemd that the service is up and alive (sd_notify(3)); does nothing without systemd."""

import contextlib
import os
import socket


def notify(*states: str) -> None:
    """Send states such as READY=1, WATCHDOG=1, STATUS=text."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto("\n".join(states).encode(), address)


def watchdog_seconds() -> float | None:
    """Return how often systemd expects WATCHDOG=1 at least, in seconds; None for never."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    own = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 1e6 if own and microseconds.isdecimal() and int(microseconds) else None
