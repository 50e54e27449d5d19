"""From the spool to one connection: what is sent when, and what follows from each answer of the broker.

Oldest first, but fresh readings do not wait behind a backlog: the readings that waited when the connection was made and
those taken since take turns. Everything runs in one thread; the broker's answers arrive by a queue.
"""

import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from iot_device.ledger import Ledger
from iot_device.pace import Pace
from iot_device.reasons import Behaviour, Refusal
from iot_device.spool import Spool, Waiting

log = logging.getLogger(__name__)

WINDOW = 100  # publishes in flight that AWS IoT Core allows one connection
PAGE = 100
HOLD_S = (1.0, 300.0)  # back-off of publishing while the broker refuses everything
TRIES = 8  # refusals of one reading, while others are accepted
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

    def next(self) -> Waiting | None:
        """Return the next reading, None if there is none now."""
        end = self.spool.last if self.upto is None else self.upto
        seen = self.position
        while not self._page and seen < end:
            rows = self.spool.fetch(self.thing, seen, end, PAGE)
            seen = rows[-1].seq if rows else end
            self._page.extend(row for row in rows if not self.skip(row.seq))
        if not self._page:
            self.position = seen
            return None
        waiting = self._page.popleft()
        self.position = waiting.seq
        return waiting


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
    ) -> None:
        self.spool, self.thing, self.pace, self.ledger, self.window = spool, thing, pace, ledger, window
        self.line: Line | None = None
        self.fault: Refusal | None = None
        """The last refusal of a message; None once one is accepted again."""
        self.last_acknowledged: float | None = None
        """Seconds since 1970."""
        self._wake = wake
        self._events: deque[Callable[[], None]] = deque()
        self._backlog = Lane(spool, thing, self._skips, upto=0)
        self._fresh = Lane(spool, thing, self._skips)
        self._ahead: Waiting | None = None
        self._fresh_turn = False
        self._in_flight: dict[int, tuple[str, float]] = {}  # by position: payload, and when it was published
        self._suspects: set[int] = set()
        self._stubborn: dict[int, tuple[int, int]] = {}  # by position: refusals, acknowledgements before the first
        self._acknowledged = 0
        self._hold_until = 0.0
        self._holds = 0
        self._logged: tuple[str, float] = ("", 0.0)

    @property
    def in_flight(self) -> int:
        """How many readings were sent and not answered yet."""
        return len(self._in_flight)

    def idle(self) -> bool:
        """Return whether nothing is in flight and nothing waits. Only for the thread that pumps."""
        return not (self._events or self._in_flight) and self._peek() is None

    def on_change(self, connected: bool, refusal: Refusal | None) -> None:
        """Note, from any thread, that the connection was made or lost."""
        self._events.append(self._on_connected if connected else partial(self._on_disconnected, refusal))
        self._wake()

    def pump(self, now: float) -> float:
        """Handle answers and send what may be sent. Returns the seconds until more may be sent."""
        while self._events:
            self._events[0]()  # it stays in the queue until done: a failed disk retries it
            self._events.popleft()
        if self.line is None or not self.line.connected:
            return NEVER
        if now < self._hold_until:
            return self._hold_until - now
        while len(self._in_flight) < (1 if self._suspects or self._holds else self.window):
            waiting = self._peek()
            if waiting is None:
                self._suspects &= self._in_flight.keys()
                return NEVER
            delay = self.pace.delay(now)
            if delay:
                return delay
            self._ahead = None
            self._in_flight[waiting.seq] = (waiting.payload, time.time())
            self.line.publish(waiting.payload, partial(self._answered, waiting.seq))
        return NEVER

    def _skips(self, seq: int) -> bool:
        return seq in self._in_flight or seq in self.spool.settled

    def _peek(self) -> Waiting | None:
        if self._ahead is None:
            lanes = (self._fresh, self._backlog) if self._fresh_turn else (self._backlog, self._fresh)
            for lane in lanes:
                self._ahead = lane.next()
                if self._ahead is not None:
                    self._fresh_turn = lane is self._backlog
                    break
        return self._ahead

    def _answered(self, seq: int, refusal: Refusal | None) -> None:
        self._events.append(partial(self._on_answer, seq, refusal))
        self._wake()

    def _on_connected(self) -> None:
        self._ahead = None
        self._backlog.move(0, self.spool.last)
        self._fresh.move(self.spool.last, None)

    def _on_disconnected(self, refusal: Refusal | None) -> None:
        if refusal is None or not refusal.answered:
            return
        if refusal.behaviour is Behaviour.SLOW:
            self._slow_down(refusal)
        elif refusal.behaviour is Behaviour.QUARANTINE:
            # The broker does not say which message it was: each is tried alone.
            self._suspects |= set(self._in_flight)
            if len(self._in_flight) == 1:
                [(seq, (payload, published))] = self._in_flight.items()
                self._quarantine(seq, payload, published, refusal)

    def _on_answer(self, seq: int, refusal: Refusal | None) -> None:
        payload, published = self._in_flight[seq]
        if refusal is None:
            self.ledger.record(payload, published, None)
            self.fault, self._holds, self.last_acknowledged = None, 0, time.time()
            self._acknowledged += 1
            self._suspects.discard(seq)
            self._stubborn.pop(seq, None)
            self.spool.acknowledge([seq])
            del self._in_flight[seq]
            return
        if refusal.behaviour is Behaviour.QUARANTINE or self._is_hopeless(seq, refusal):
            self._quarantine(seq, payload, published, refusal)
            del self._in_flight[seq]
            return
        del self._in_flight[seq]
        self._send_again(seq)
        if refusal.behaviour is Behaviour.SLOW:
            self._slow_down(refusal)
        elif refusal.answered:
            self._hold(refusal)

    def _is_hopeless(self, seq: int, refusal: Refusal) -> bool:
        """Return whether the broker accepts others and has refused this one again and again."""
        if refusal.behaviour is not Behaviour.RETRY or not refusal.answered:
            return False
        tries, before = self._stubborn.get(seq, (0, self._acknowledged))
        self._stubborn[seq] = (tries + 1, before)
        return tries + 1 >= TRIES and self._acknowledged > before

    def _quarantine(self, seq: int, payload: str, published: float, refusal: Refusal) -> None:
        self.spool.quarantine(seq, str(refusal))
        self.ledger.record(payload, published, refusal)
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

    def _send_again(self, seq: int) -> None:
        if self._backlog.upto is not None and seq > self._backlog.upto:
            self._backlog.upto = self._fresh.position
        self._backlog.move(min(self._backlog.position, seq - 1), self._backlog.upto)
