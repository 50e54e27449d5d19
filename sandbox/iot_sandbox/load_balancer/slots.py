"""Targets in the server slots of a running HAProxy, and the commands that place them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# srv_admin_state, HAProxy's management guide, "show servers state". 0x04 (disabled in the configuration)
# stays set once such a server is enabled at run time, so it says nothing.
MAINTENANCE = 0x01 | 0x02 | 0x20
DRAIN = 0x08 | 0x10

Address = tuple[str, int]


@dataclass(frozen=True)
class Slot:
    """A server of a backend as it runs: ``ready``, ``drain``, or free in ``maint``."""

    backend: str
    name: str
    address: str
    port: int
    state: str

    @property
    def target(self) -> Address:
        """Where it sends to."""
        return self.address, self.port

    def command(self, state: str) -> str:
        """The runtime command that changes its state."""
        return f"set server {self.backend}/{self.name} state {state}"


@dataclass(frozen=True)
class Plan:
    """Commands in order; ``until`` says when each leaving target's time is over; ``full``: no slot left."""

    commands: tuple[str, ...]
    until: Mapping[Address, float]
    full: bool = False


def parse(text: str) -> dict[str, list[Slot]]:
    """The slots in an answer to ``show servers state``, by backend."""
    found: dict[str, list[Slot]] = {}
    for line in text.splitlines():
        columns = line.split()
        if len(columns) < 19 or not re.fullmatch(r"s\d+", columns[3]):
            continue
        flags = int(columns[6])
        state = "maint" if flags & MAINTENANCE else "drain" if flags & DRAIN else "ready"
        slot = Slot(columns[1], columns[3], columns[4], int(columns[18]), state)
        found.setdefault(slot.backend, []).append(slot)
    return found


def plan(
    slots: list[Slot], wanted: Mapping[Address, str], until: Mapping[Address, float], now: float, delay: float
) -> Plan:
    """Bring ``wanted`` (registered targets, ``ready`` or ``drain``) into the slots of one backend.

    A target that is no longer registered finishes what it has for ``delay`` seconds; then its
    connections are cut and its slot is free. ``until`` is the previous plan's. Times are of one clock,
    in seconds.
    """
    commands: list[str] = []
    leaving: dict[Address, float] = {}
    seated: set[Address] = set()
    free: list[Slot] = []
    for slot in slots:
        if slot.state == "maint":
            free.append(slot)
        elif slot.target in wanted and slot.target not in seated:
            seated.add(slot.target)
            if slot.state != wanted[slot.target]:
                commands.append(slot.command(wanted[slot.target]))
        else:
            end = until.get(slot.target, now + delay)
            if now >= end:
                commands.append(f"shutdown sessions server {slot.backend}/{slot.name}")
                commands.append(slot.command("maint"))
            else:
                leaving[slot.target] = end
                if slot.state != "drain":
                    commands.append(slot.command("drain"))
    arriving = sorted(target for target, state in wanted.items() if state == "ready" and target not in seated)
    for slot, (address, port) in zip(free, arriving, strict=False):
        commands.append(f"set server {slot.backend}/{slot.name} addr {address} port {port}")
        commands.append(slot.command("ready"))
    return Plan(tuple(commands), leaving, full=len(arriving) > len(free))
