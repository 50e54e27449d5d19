"""The command simulate: many readings through the same spool and connections as run's, and their outcome."""

import contextlib
import itertools
import math
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from iot_device import billing
from iot_device.connection import CONNECT_TIMEOUT_S
from iot_device.engine import FLUSH_S
from iot_device.identities import Identity, behind_one, of_kits
from iot_device.ledger import Ledger
from iot_device.pace import Pace
from iot_device.reading import Reading, now
from iot_device.sensors import ramp
from iot_device.settings import Settings, SettingsError
from iot_device.signals import ignore_further, stop_on_signal
from iot_device.spool import Spool, SpoolError
from iot_device.state import AlreadyRunningError, locked
from iot_device.wiring import wire

TICK_S = 0.02
SAMPLES = 1000  # readings that the billable units are computed from
STALL_S = 40.0  # without a single acknowledgement


@dataclass(frozen=True)
class Load:
    """The load to simulate. Zero `count` or `seconds` mean no such end."""

    devices: int
    rate: float
    """Readings a second, of all devices together."""
    count: int
    seconds: float
    kits: Path | None
    ledger: Path | None
    spool: Path | None
    unlimited: bool


def simulate(settings: Settings | None, load: Load) -> int:
    """Publish readings at a rate; print the totals. Returns 0 if each of them was acknowledged.

    `settings` are None with kits, which have their own.
    """
    ledger = Ledger.at(load.ledger, append=load.spool is not None)
    ledger.latencies = []
    with _identities(settings, load) as identities, _alone(identities, load), _spool(load) as spool:
        simulation = Simulation(identities, load, spool, ledger)
        _warn(load.rate, [delivery.pace for delivery in simulation.wiring.deliveries])
        status = simulation.run(stop_on_signal())
    ignore_further()
    return status


@contextlib.contextmanager
def _identities(settings: Settings | None, load: Load) -> Iterator[Sequence[Identity]]:
    if settings:
        yield [behind_one(settings, load.devices)]
    elif load.kits:
        with of_kits(load.kits, load.devices) as identities:
            yield identities


@contextlib.contextmanager
def _alone(identities: Sequence[Identity], load: Load) -> Iterator[None]:
    """Keep others from these identities and the spool: AWS ends a connection for a second one of the same name."""
    folders = [identity.settings.state_dir for identity in identities]
    try:
        with locked(*folders, *([load.spool.parent] if load.spool else [])):
            yield
    except AlreadyRunningError as error:
        raise SettingsError(f"{error}: stop it first, or simulate with kits of their own.") from error


@contextlib.contextmanager
def _spool(load: Load) -> Iterator[Spool]:
    with contextlib.ExitStack() as stack:
        path = load.spool or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="iot-device-")), "spool.db")
        try:
            spool = Spool(path, limit=sys.maxsize, days=36500)
        except SpoolError as error:
            raise SettingsError(str(error)) from error
        yield spool
        spool.close()


def _warn(rate: float, paces: Sequence[Pace]) -> None:
    carried = sum(pace.rate for pace in paces)
    if rate > carried and all(pace.limit for pace in paces):
        connections = "1 connection" if len(paces) == 1 else f"{len(paces)} connections"
        print(
            f"{rate:g} readings a second are requested, and {connections} can publish {carried:.0f} (a little below "
            "the limit of each; AWS's is 100): the rest waits in the spool. For more use more kits (--kits, "
            "--devices), or --unlimited with a broker without that limit.",
            file=sys.stderr,
        )


class Simulation:
    """One run of a load."""

    def __init__(self, identities: Sequence[Identity], load: Load, spool: Spool, ledger: Ledger) -> None:
        self.load, self.spool, self.ledger = load, spool, ledger
        self.wiring = wire(spool, [identity.settings for identity in identities], ledger, unlimited=load.unlimited)
        # in turns: the first device of each connection, then the second of each, and so on
        self._devices = itertools.cycle(
            (identity.settings.thing, name)
            for group in itertools.zip_longest(*(identity.devices for identity in identities))
            for identity, name in zip(identities, group, strict=True)
            if name is not None
        )
        self._sensor = ramp(identities[0].settings.measurements)
        self._identity = identities[0].settings
        self._samples: list[str] = []
        self.before = spool.waiting
        self.sent = 0

    def run(self, stop: threading.Event) -> int:
        """Return the exit status. Raises NotConnectedError if a connection cannot be made."""
        engine = self.wiring.engine
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.wiring)
            for connection in self.wiring.connections:
                connection.wait_connected(CONNECT_TIMEOUT_S)
            began = time.monotonic()
            engine.start(stop.set)
            stack.callback(engine.stop, 0.0)
            self._produce(began, stop)
            self._drain(stop)
            seconds = time.monotonic() - began
        waiting = self._note_waiting()
        self.ledger.sync()
        print(self._totals(waiting, seconds))
        if self._samples:
            print("", billing.table(self._samples, self._identity.pack_bytes, self._identity.thing), sep="\n")
        return 0 if self.ledger.acknowledged >= self.sent + self.before and not waiting else 1

    def _produce(self, began: float, stop: threading.Event) -> None:
        count = self.load.count or math.inf
        until = began + (self.load.seconds or math.inf)
        while self.sent < count and time.monotonic() < until and not stop.is_set():
            due = min(count, 1 + (time.monotonic() - began) * self.load.rate) - self.sent
            rows = []
            for thing, device in itertools.islice(self._devices, int(due)):
                reading = Reading(device, self._sensor(), now())
                rows.append((thing, reading.taken, reading.payload()))
            if rows:
                self.spool.take_rows(rows)
                self._samples += [row[2] for row in rows[: SAMPLES - len(self._samples)]]
                self.sent += len(rows)
                self.wiring.engine.wake()
            stop.wait(max(TICK_S, 1 / self.load.rate if self.load.rate < 1 / TICK_S else 0.0))

    def _drain(self, stop: threading.Event) -> None:
        """Wait until no reading waits or nothing moves any more; after a stop for FLUSH_S at most."""
        until = time.monotonic() + (FLUSH_S if stop.is_set() else math.inf)
        asked = stop.is_set()
        last, moved = -1, time.monotonic()
        while (left := self.spool.waiting - len(self.spool.settled)) and stop.is_set() == asked:
            if left != last:
                last, moved = left, time.monotonic()
            if time.monotonic() > min(until, moved + STALL_S):
                return
            time.sleep(TICK_S)

    def _note_waiting(self) -> int:
        self.spool.settle()
        for delivery in self.wiring.deliveries:
            position = 0
            while rows := self.spool.fetch(delivery.thing, position, self.spool.last, 1000):
                position = rows[-1].seq
                self.ledger.record_waiting([row.payload for row in rows])
        return self.spool.waiting

    def _totals(self, waiting: int, seconds: float) -> str:
        used = resource.getrusage(resource.RUSAGE_SELF)
        rows = {
            "connections": str(len(self.wiring.connections)),
            **({"from before": str(self.before)} if self.before else {}),
            "sent": str(self.sent),
            "acknowledged": str(self.ledger.acknowledged),
            "refused": ", ".join(f"{n} {name}" for name, n in self.ledger.refused.items()) or "0",
            "unanswered": str(waiting),
            "publishes": str(self.ledger.publishes),
            "seconds": f"{seconds:.1f}",
            "rate": f"{self.ledger.acknowledged / seconds if seconds else 0:.1f}/s",
            **_latencies(self.ledger.latencies or []),
            "processor": f"{(used.ru_utime + used.ru_stime) / seconds * 100 if seconds else 0:.0f} %",
            "memory": f"{used.ru_maxrss / 1024:.0f} MiB",
        }
        return "\n".join(f"{name:<13} {value:>8}" for name, value in rows.items())


def _latencies(seconds: Sequence[float]) -> dict[str, str]:
    if len(seconds) < 2:
        return {}
    cuts = statistics.quantiles(seconds, n=100)
    return {"answer, p50": f"{cuts[49] * 1000:.0f} ms", "answer, p99": f"{cuts[98] * 1000:.0f} ms"}
