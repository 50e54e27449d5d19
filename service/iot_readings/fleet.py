"""The state of each device, and which are quiet: silent for longer than their own usual interval.

A device is looked at by one Query for its newest readings. Devices that somebody looks at are followed once a
second; the others come round as often as the sweep's rate allows. A device counts as quiet by what a look proved,
never by the age of a look: between two looks it stays what it was.
"""

import asyncio
import heapq
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from math import isnan, nan
from statistics import median_low
from time import monotonic, time

from iot_readings.measurements import Measurement
from iot_readings.readings import Reading, iso, milliseconds, number, reading
from iot_readings.table import FIRST, Table, Unavailable

RECENT = 16  # readings of a device that are kept: one Query of them stays below 4 KiB, half a read unit
FOLLOWED_ROWS = 100  # of a device that was looked at within
FOLLOWED_SECONDS = 5.0
AHEAD_SECONDS = 86_400  # a reading whose time is farther in the future does not hide the present ones
FRESH_SECONDS = 1.0  # a look at most this old is shown as it is
SWEEP_SECONDS = (60.0, 600.0)  # between two looks of the sweep, by the device's usual interval or how long it is here
TOLERANCE = 2.0  # usual intervals of silence that are no silence yet,
TOLERANCE_SECONDS = 10.0  # and the time a reading may take on its way
LOOKS = 32  # at the same time
SNAPSHOTS = 8
SNAPSHOT_SECONDS = 2.0


@dataclass(slots=True, eq=False)
class Device:
    """One device.

    Attributes:
        name: its thing's name, which is the deviceId of its readings.
        since: what it sends from then on is news, seconds since 1970: it was not in the registry before, or the service
            did not run.
        checked: when it was last looked at, seconds since 1970; 0 before the first look.
        last: its newest reading; None when it has none.
        recent: its newest readings, oldest first: ms since 1970 and the drawn measurement (NaN: none) by turns.
        interval: seconds that usually pass between two readings; None when there are too few to say.
        silent: seconds between its newest reading and the last look.
        patience: seconds of silence after which it is quiet.
        state: quiet, live, never (no reading yet) or unknown (not looked at yet).
    """

    name: str
    since: float = field(default_factory=time)
    checked: float = 0.0
    last: Reading | None = None
    recent: "array[float]" = field(default_factory=lambda: array("d"))
    interval: float | None = None
    silent: float = 0.0
    patience: float = 0.0
    state: str = "unknown"

    def document(self) -> dict[str, object]:
        """The device as the API writes it."""
        return {
            "deviceId": self.name,
            "state": self.state,
            "last": self.last.document() if self.last else None,
            "ageSeconds": round(max(0.0, time() - _seen(self.last)), 3) if self.last else None,
            "usualIntervalSeconds": self.interval,
            "checkedAt": iso(int(self.checked * 1_000)) if self.checked else None,
            "recent": [
                {"time": iso(int(moment)), "value": None if isnan(value) else value}
                for moment, value in zip(self.recent[::2], self.recent[1::2], strict=True)
            ],
        }


STATES = {"quiet": 0, "live": 1, "never": 2, "unknown": 3}  # in the order in which they are listed


class Fleet:
    """All devices of the registry, and those beyond it that somebody asked for by name."""

    def __init__(
        self,
        table: Table,
        measurements: Sequence[Measurement],
        quiet_seconds: float,
        publish: Callable[[Reading], None],
    ) -> None:
        self._table = table
        self._measurements = measurements
        self._drawn = next((each.name for each in measurements if each.numeric), "")
        self._quiet_seconds = quiet_seconds
        self._publish = publish
        self._devices: dict[str, Device] = {}
        self._listed = time()  # when the registry was last read; what it did not hold then is new
        self._sorted: tuple[list[str], list[Device]] | None = None  # made when it is asked for
        self._states = Counter[str]()
        self._due: list[tuple[float, str]] = []  # when the sweep looks again (monotonic), a heap
        self._looks: dict[str, asyncio.Task[Device]] = {}
        self._rounds: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(LOOKS)
        self._snapshots: dict[str, list[Device]] = {}
        self._snapshot_at = float("-inf")

    # --- Names

    def add(self, names: Iterable[str]) -> None:
        """Take devices in."""
        for name in names:
            if name not in self._devices:
                self._devices[name] = Device(name, self._listed)
                self._states["unknown"] += 1
                self._sorted = None
                heapq.heappush(self._due, (monotonic(), name))

    def keep(self, names: set[str], listed: float) -> None:
        """Forget the devices that are not among `names`, which the registry held at `listed`, seconds since 1970."""
        self._listed = listed
        gone = self._devices.keys() - names
        if gone:
            self._devices = {name: device for name, device in self._devices.items() if name not in gone}
            self._states = Counter(device.state for device in self._devices.values())
            self._sorted = None

    @property
    def names(self) -> Sequence[str]:
        """All names, in order."""
        return self._in_order()[0]

    @property
    def by_name(self) -> Sequence[Device]:
        """All devices, in the order of their names."""
        return self._in_order()[1]

    def _in_order(self) -> tuple[list[str], list[Device]]:
        if self._sorted is None:
            names = sorted(self._devices)
            self._sorted = names, [self._devices[name] for name in names]
        return self._sorted

    def get(self, name: str) -> Device | None:
        """A device of the registry."""
        return self._devices.get(name)

    def states(self) -> dict[str, int]:
        """How many devices are in which state."""
        return {state: self._states[state] for state in STATES}

    def worst(self, most: int) -> list[Device]:
        """The devices that are quiet for the most of their usual intervals."""
        quiet = (device for device in self._devices.values() if device.state == "quiet")
        return heapq.nsmallest(most, quiet, key=_rank)

    # --- Order

    def snapshot(self) -> tuple[str, list[Device]]:
        """The devices in the order quiet first, with the name under which `snapshot_of` gives the same again."""
        if not self._snapshots or monotonic() - self._snapshot_at > SNAPSHOT_SECONDS:
            self._snapshot_at = monotonic()
            self._snapshots[f"{time():.3f}"] = sorted(self._devices.values(), key=_rank)
            while len(self._snapshots) > SNAPSHOTS:
                del self._snapshots[next(iter(self._snapshots))]
        name = next(reversed(self._snapshots))
        return name, self._snapshots[name]

    def snapshot_of(self, name: str) -> list[Device] | None:
        """A former order; None when it is forgotten."""
        return self._snapshots.get(name)

    # --- Looks

    async def look(self, name: str, *, fresh: float = FRESH_SECONDS) -> Device:
        """Look at a device, unless that was done within `fresh` seconds; it need not be registered.

        Raises:
            Unavailable: when the table can't be read.
        """
        device = self._devices.get(name) or Device(name)
        if time() - device.checked < fresh:
            return device
        task = self._looks.get(name)
        if task is None:
            task = self._looks[name] = asyncio.create_task(self._look(device))
            task.add_done_callback(lambda _: self._looks.pop(name, None))
        return await asyncio.shield(task)

    async def look_at_all(self, devices: Iterable[Device]) -> None:
        """Look at devices side by side; one that can't be looked at stays what it was."""
        await asyncio.gather(*(self.look(device.name) for device in devices), return_exceptions=True)

    async def _look(self, device: Device) -> Device:
        """Take in what is new of a device, or its newest readings at the first look."""
        async with self._turns:
            now = time()
            lower = device.last.key + "\0" if device.last else FIRST  # the first key that sorts after it
            limit = FOLLOWED_ROWS if now - device.checked < FOLLOWED_SECONDS else RECENT
            page = await self._table.query(device.name, lower, iso(int((now + AHEAD_SECONDS) * 1_000)), limit=limit)
        looked_at = device.checked > 0.0
        for item in reversed(page.items):
            device.last = reading(device.name, item, self._measurements)
            try:
                moment = milliseconds(device.last.time)
            except ValueError:
                continue  # a key that the receiver never writes
            value = number(device.last.values.get(self._drawn))
            device.recent.extend((moment, nan if value is None else value))
            if looked_at or _seen(device.last) >= device.since:
                self._publish(device.last)
        del device.recent[: -2 * RECENT]
        device.checked = now
        before = device.state
        self._judge(device)
        if device.state != before and self._devices.get(device.name) is device:
            self._states.update({before: -1, device.state: 1})
        return device

    def _judge(self, device: Device) -> None:
        moments = device.recent[::2]
        gaps = [later - earlier for earlier, later in pairwise(moments) if later > earlier]
        device.interval = median_low(gaps) / 1_000 if len(gaps) > 1 else None
        if device.last is None:
            device.state = "never"
            return
        device.silent = max(0.0, device.checked - _seen(device.last))
        device.patience = self._quiet_seconds
        if device.interval is not None:
            device.patience = TOLERANCE * device.interval + TOLERANCE_SECONDS
        device.state = "quiet" if device.silent > device.patience else "live"

    # --- Rounds

    async def sweep(self, rate: float) -> None:
        """Look at every device for ever, at most `rate` a second."""
        while True:
            await asyncio.sleep(1 / rate)
            if not self._due or self._due[0][0] > monotonic():
                continue
            _, name = heapq.heappop(self._due)
            device = self._devices.get(name)
            if device is None:
                continue  # no longer registered
            shortest, longest = SWEEP_SECONDS
            pause = min(longest, max(shortest, device.interval or time() - device.since))
            heapq.heappush(self._due, (monotonic() + pause, name))
            self._begin(name)

    async def follow(self, names: Callable[[], Iterable[str]], rate: float) -> None:
        """Look at the devices that `names` gives once a second, or at `rate` a second when there are more."""
        while True:
            started = monotonic()
            for name in list(names()):
                self._begin(name)
                await asyncio.sleep(1 / rate)
            await asyncio.sleep(max(0.05, 1.0 - (monotonic() - started)))

    def _begin(self, name: str) -> None:
        if name in self._devices and name not in self._looks:
            task = asyncio.create_task(self._quietly(name))
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)

    async def _quietly(self, name: str) -> None:
        with suppress(Unavailable):  # counted by the table, and tried again at the next round
            await self.look(name, fresh=0.5)


def _seen(last: Reading | None) -> float:
    """When a device was last heard of, seconds since 1970: by the receiver's clock, since its own may be wrong."""
    if last is None:
        return 0.0
    for text in (last.received_at, last.time):
        try:
            return milliseconds(text or "") / 1_000
        except ValueError:
            continue
    return 0.0


def _rank(device: Device) -> tuple[int, float, str]:
    """Quiet ones first, those quiet for the most of their usual intervals before the others."""
    worst = -device.silent / device.patience if device.state == "quiet" else 0.0
    return STATES[device.state], worst, device.name
