"""From the spool to one connection: what is sent when, and what follows from each answer of the broker.

Several waiting readings go in one publish, as a JSON array, since AWS meters and limits publishes; the broker's answer
holds for all of them. Oldest first, but fresh readings do not wait behind a backlog: the readings that waited when the
connection was made and those taken since take turns. Everything runs in one thread; answers arrive by a queue.
"""

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from iot_device.ledger import Ledger
from iot_device.pace import Pace
from iot_device.reasons import Behaviour, Refusal
from iot_device.spool import Spool, Waiting

log = logging.getLogger(__name__)

WINDOW = 100  # publishes in flight that AWS IoT Core allows one connection
PAGE = 500
PACK_READINGS = 1000  # that the receiver accepts in one payload
HOLD_S = (1.0, 300.0)  # back-off of publishing while the broker refuses everything
TRIES = 8  # refusals of one reading, while others are accepted
OTHERS_REFUSED = 0.1  # of the others, at most: a broker that refuses at random is not to blame on a reading
NEVER = float("inf")
REPEAT_S = 300.0  # a refusal that lasts is logged this often


class Line(Protocol):
    """What a delivery needs of a connection."""

    connected: bool

    def publish(self, payload: str, done: Callable[[Refusal | None], None]) -> None:
        """Send, and call `done` from any thread."""


@dataclass
class Lane:
    """Readings between two positions of the spool, in order."""

    spool: Spool
    thing: str
    skip: Callable[[int], bool]
    """Whether a reading is in flight already."""
    position: int = 0
    upto: int | None = None
    """The last position; None for no end."""
    _page: deque[Waiting] = field(default_factory=deque)

    def move(self, position: int, upto: int | None) -> None:
        """Continue after another position, up to another end."""
        self.position, self.upto = position, upto
        self._page.clear()

    def peek(self) -> Waiting | None:
        """Return the next reading without taking it; None if there is none now."""
        end = self.spool.last if self.upto is None else self.upto
        seen = self.position
        while not self._page and seen < end:
            rows = self.spool.fetch(self.thing, seen, end, PAGE)
            seen = rows[-1].seq if rows else end
            self._page.extend(row for row in rows if not self.skip(row.seq))
        if not self._page:
            self.position = seen
            return None
        return self._page[0]

    def take(self) -> Waiting:
        """Return the reading that `peek` returned, and continue after it."""
        waiting = self._page.popleft()
        self.position = waiting.seq
        return waiting


@dataclass
class Stubborn:
    """A reading that was refused for a reason that may pass, and the delivery's counts before that."""

    acknowledged: int
    refused: int
    tries: int = 0


@dataclass(frozen=True)
class Pack:
    """The readings of one publish."""

    readings: list[Waiting]
    published: float
    """Seconds since 1970."""

    @property
    def payload(self) -> str:
        """A reading, or an array of them."""
        payloads = [reading.payload for reading in self.readings]
        return payloads[0] if len(payloads) == 1 else f"[{','.join(payloads)}]"


class Delivery:
    """One connection's. `wake` is called, from any thread, when `pump` has something to do."""

    def __init__(
        self,
        spool: Spool,
        thing: str,
        *,
        pace: Pace,
        ledger: Ledger,
        wake: Callable[[], None],
        window: int = WINDOW,
        pack: int = 1,
        pack_bytes: int = 0,
    ) -> None:
        """Send publishes of at least `pack` readings, and of more if more wait, up to `pack_bytes`."""
        self.spool, self.thing, self.pace, self.ledger, self.window = spool, thing, pace, ledger, window
        self._pack, self._pack_bytes = pack if pack_bytes else 1, pack_bytes
        self.line: Line | None = None
        self.fault: Refusal | None = None
        """The last refusal of a message; None once one is accepted again."""
        self.held = False
        """Nothing is sent, and nothing is read of the spool."""
        self.last_acknowledged: float | None = None
        """Seconds since 1970."""
        self._wake = wake
        self._events: deque[Callable[[], None]] = deque()
        self._backlog = Lane(spool, thing, self._skips, upto=0)
        self._fresh = Lane(spool, thing, self._skips)
        self._next: list[Waiting] = []  # the readings of the next publish
        self._fresh_turn = False
        self._flushing = False
        self._packs: dict[int, Pack] = {}  # in flight, by the position of their first reading
        self._positions: set[int] = set()  # of all readings in flight or in the next publish
        self._suspects: set[int] = set()  # positions of readings to send alone
        self._stubborn: dict[int, Stubborn] = {}  # by position
        self._acknowledged = 0
        self._refused = 0  # readings sent alone, for reasons that may pass
        self._hold_until = 0.0
        self._holds = 0
        self._logged: tuple[str, float] = ("", 0.0)

    def idle(self) -> bool:
        """Return whether nothing is in flight and nothing waits. Only for the thread that pumps."""
        if not self.held:
            self._fill()
        return not (self._events or self._packs or self._next)

    @property
    def at_once(self) -> int:
        """How many readings go out without waiting for an answer, at least."""
        return max(self.window, self._pack)

    def flush(self) -> None:
        """Send what waits now, even if it is less than a pack. From any thread."""
        self._flushing = True

    def rewind(self) -> None:
        """Look for readings from the first position again. Only for the thread that pumps."""
        self._backlog.move(0, self._fresh.position)

    def on_change(self, connected: bool, refusal: Refusal | None) -> None:
        """Note, from any thread, that the connection was made or lost."""
        self._events.append(self._on_connected if connected else partial(self._on_disconnected, refusal))
        self._wake()

    def pump(self, now: float) -> float:
        """Handle answers and send what may be sent. Returns the seconds until more may be sent."""
        while self._events:
            self._events[0]()  # it stays in the queue until done: a failed disk retries it
            self._events.popleft()
        if self.line is None or not self.line.connected or self.held:
            return NEVER
        if now < self._hold_until:
            return self._hold_until - now
        while len(self._packs) < (1 if self._suspects or self._holds else self.window):
            is_full = self._fill()
            if not self._next:
                self._suspects &= self._positions
                self._flushing = False
                return NEVER
            if not (is_full or self._flushing or self._suspects or len(self._next) >= self._pack):
                return NEVER
            delay = self.pace.delay(now, len(self._next))
            if delay:
                return delay
            pack, self._next = Pack(self._next, time.time()), []
            key = pack.readings[0].seq
            self._packs[key] = pack
            self.line.publish(pack.payload, partial(self._answered, key))
        return NEVER

    def _skips(self, seq: int) -> bool:
        return seq in self._positions or seq in self.spool.settled

    def _fill(self) -> bool:
        """Move waiting readings to the next publish. Returns whether there are more than fit."""
        size = 1 + sum(len(reading.payload) + 1 for reading in self._next)  # brackets and commas; payloads are ASCII
        while True:
            lanes = (self._fresh, self._backlog) if self._fresh_turn else (self._backlog, self._fresh)
            lane = next((lane for lane in lanes if lane.peek()), None)
            if lane is None or (waiting := lane.peek()) is None:
                return False
            size += len(waiting.payload) + 1
            alone = self._suspects or size > self._pack_bytes or len(self._next) >= PACK_READINGS
            if self._next and alone:
                return True
            self._next.append(lane.take())
            self._positions.add(waiting.seq)
            self._fresh_turn = lane is self._backlog

    def _empty(self) -> None:
        """Return the readings of the next publish to their lane."""
        waiting, self._next = self._next, []
        self._send_again(waiting)

    def _answered(self, key: int, refusal: Refusal | None) -> None:
        self._events.append(partial(self._on_answer, key, refusal))
        self._wake()

    def _on_connected(self) -> None:
        self._empty()
        self._backlog.move(0, self.spool.last)
        self._fresh.move(self.spool.last, None)

    def _on_disconnected(self, refusal: Refusal | None) -> None:
        if refusal is None or not refusal.answered:
            return
        if refusal.behaviour is Behaviour.SLOW:
            self._slow_down(refusal)
        elif refusal.behaviour is Behaviour.QUARANTINE:
            # The broker does not say which message it was: each reading is tried alone.
            seqs = [reading.seq for pack in self._packs.values() for reading in pack.readings]
            if len(seqs) == 1:
                self._quarantine(self._packs[seqs[0]], refusal)
            else:
                self._suspect(seqs)

    def _on_answer(self, key: int, refusal: Refusal | None) -> None:
        pack = self._packs[key]
        if refusal is None:
            self.ledger.record([reading.payload for reading in pack.readings], pack.published, None)
            self.fault, self._holds, self.last_acknowledged = None, 0, time.time()
            self._acknowledged += 1
            seqs = [reading.seq for reading in pack.readings]
            self._suspects.difference_update(seqs)
            for seq in seqs:
                self._stubborn.pop(seq, None)
            self.spool.acknowledge(seqs)
            self._land(key)
            return
        alone = len(pack.readings) == 1
        if alone and (refusal.behaviour is Behaviour.QUARANTINE or self._is_hopeless(key, refusal)):
            self._quarantine(pack, refusal)
            self._land(key)
            return
        self._land(key)
        self._send_again(pack.readings)
        if not alone and refusal.answered and refusal.behaviour in (Behaviour.QUARANTINE, Behaviour.RETRY):
            self._suspect([reading.seq for reading in pack.readings])
        if refusal.behaviour is Behaviour.SLOW:
            self._slow_down(refusal)
        elif refusal.answered and refusal.behaviour is not Behaviour.QUARANTINE:
            self._hold(refusal)

    def _land(self, key: int) -> None:
        self._positions.difference_update(reading.seq for reading in self._packs.pop(key).readings)

    def _suspect(self, seqs: Iterable[int]) -> None:
        """Send these alone: one of them is to blame for a refusal."""
        self._suspects.update(seqs)
        self._empty()

    def _is_hopeless(self, seq: int, refusal: Refusal) -> bool:
        """Return whether the broker accepts others and has refused this one again and again."""
        if refusal.behaviour is not Behaviour.RETRY or not refusal.answered:
            return False
        one = self._stubborn.setdefault(seq, Stubborn(self._acknowledged, self._refused))
        one.tries += 1
        self._refused += 1
        accepted, refused = self._acknowledged - one.acknowledged, self._refused - one.refused - one.tries
        return one.tries >= TRIES and accepted > 0 and refused <= accepted * OTHERS_REFUSED

    def _quarantine(self, pack: Pack, refusal: Refusal) -> None:
        [(seq, payload)] = pack.readings
        self.spool.quarantine(seq, str(refusal))
        self.ledger.record([payload], pack.published, refusal)
        self._suspects.discard(seq)
        self._stubborn.pop(seq, None)
        log.error("quarantined a reading that the broker will never accept: %s: %.200s", refusal, payload)

    def _slow_down(self, refusal: Refusal) -> None:
        self.fault = refusal
        if self.pace.slow(time.monotonic()):
            log.warning("slowed down to %.1f publishes a second: %s", self.pace.rate, refusal)

    def _hold(self, refusal: Refusal) -> None:
        now = time.monotonic()
        if now >= self._hold_until:
            ceiling = min(HOLD_S[1], HOLD_S[0] * 2**self._holds)
            self._holds = min(self._holds + 1, 16)
            self._hold_until = now + random.uniform(HOLD_S[0] / 2, ceiling)  # noqa: S311 - only spreads retries in time
        self.fault = refusal
        name, when = self._logged
        if name != refusal.name or now - when > REPEAT_S:
            self._logged = (refusal.name, now)
            log.error("reading refused, it waits in the spool: %s", refusal)

    def _send_again(self, readings: list[Waiting]) -> None:
        for seq, _ in readings:
            self._positions.discard(seq)
            if self._backlog.upto is not None and seq > self._backlog.upto:
                self._backlog.upto = self._fresh.position
            self._backlog.move(min(self._backlog.position, seq - 1), self._backlog.upto)
