"""The loop: read the emulated state and apply it to HAProxy and /etc/hosts."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from iot_sandbox.shared.changes import Changes

from . import hosts, render, slots
from . import state as s
from .haproxy import HAProxy, HAProxyError
from .source import Source

log = logging.getLogger(__name__)
RETRY = 30.0  # seconds before a configuration that HAProxy refused is tried again


@dataclass
class Follower:
    """Applies what it reads from ``source`` to ``haproxy`` and ``hosts_file``."""

    source: Source
    haproxy: HAProxy
    places: render.Places
    hosts_file: Path
    changes: Changes = field(default_factory=Changes)
    _state: s.State = field(default_factory=s.State)
    _until: dict[tuple[int, str], dict[slots.Address, float]] = field(default_factory=dict)
    _refused: str = ""
    _again: float = 0.0
    trouble: str = ""
    faults: tuple[str, ...] = ()  # parts of the state that are left out, and why

    def run(self, stop: threading.Event, every: float) -> None:
        """Run until ``stop`` is set, then remove the names from /etc/hosts."""
        while not stop.is_set():
            self.step(time.monotonic())
            stop.wait(every)
        hosts.update(self.hosts_file, self.places.address, ())

    def step(self, now: float) -> None:
        """One round. A fault is logged once, and the next round tries again."""
        try:
            if self.changes.due():
                self._state = self.source.read()
                self.changes.was_read()
            self._apply(now)
        except (BotoCoreError, ClientError, HAProxyError, OSError) as error:
            if str(error) != self.trouble:
                log.error("%s", error)  # noqa: TRY400 - the message says it all
            self.trouble = str(error)
        else:
            if self.trouble:
                log.info("recovered")
            self.trouble = ""

    def _apply(self, now: float) -> None:
        configuration = render.configuration(self._state, self.places)
        if configuration.faults != self.faults:
            for fault in configuration.faults:
                log.warning("%s", fault)
            self.faults = configuration.faults
        names = [name for lb in self._state.load_balancers for name in lb.names]
        if hosts.update(self.hosts_file, self.places.address, names):
            log.info("%s: %s", self.hosts_file, ", ".join(names) or "no name")
        if configuration.digest != self._refused or now >= self._again:
            self._refused, self._again = configuration.digest, now + RETRY
            self._load(configuration)
            self._refused = ""
        full = [worker for worker in self.haproxy.workers() if self._seat(worker, now)]
        if full:
            log.info("Starting a new HAProxy worker: draining targets fill the old one")
            self.haproxy.reload(configuration.digest)

    def _load(self, configuration: render.Configuration) -> None:
        """Apply the configuration, except for the targets, to the file and the running HAProxy."""
        self.haproxy.write(configuration)
        workers = self.haproxy.workers()
        if workers and self.haproxy.digest(workers[0]) != configuration.digest:
            log.info("HAProxy loads %s: %s", configuration.digest, describe(self._state))
            self.haproxy.reload(configuration.digest)

    def _seat(self, worker: int, now: float) -> bool:
        """Targets of one worker; one that is being replaced still serves its connections.

        The answer is whether a worker that takes new connections has no room for a target.
        """
        current = worker == self.haproxy.workers()[0]
        running = self.haproxy.slots(worker)
        full = False
        for group in self._state.target_groups.values():
            name = render.backend_name(group)
            if name not in running:
                continue
            known = self._until.get((worker, name), {})
            made = slots.plan(running[name], group.states(), known, now, group.deregistration_delay)
            for command in made.commands:
                answer = self.haproxy.ask(worker, command).strip()
                log.info("%s%s", command, f": {answer}" if answer else "")
            self._until[worker, name] = dict(made.until)
            full = full or (made.full and current)
        return full


def describe(state: s.State) -> str:
    """One line: each load balancer with its port."""
    ports = [f"{lb.name}:{x.port}" for lb in state.load_balancers for x in lb.listeners]
    return ", ".join(ports) or "nothing"
