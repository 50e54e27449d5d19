"""The thread that empties the spool by each connection's delivery, and does the housekeeping."""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence

from iot_device.delivery import Delivery
from iot_device.reading import now as now_ms
from iot_device.reasons import Behaviour, Refusal
from iot_device.spool import Spool
from iot_device.synchronisation import Hold

log = logging.getLogger(__name__)

COALESCE_S = 0.005  # answers that arrive within this time are handled in one turn
HOUSEKEEPING_S = 5.0
FLUSH_S = 10.0  # how long waiting readings are sent after a stop
BRIEF_S = 0.3  # where more wait than go out at once: the spool keeps them
STALL_S = 0.7  # without an answer of the broker
REFRESH_S = 1.0  # another process may add a reading
EXPIRE_S = 600.0
REQUEUE_S = 3600.0
SETTLE_S = 5.0
SETTLE_COUNT = 500
TROUBLE_S = 1.0
REPEAT_S = 300.0  # a fault that lasts is logged this often


def _may_pass(reason: str) -> bool:
    return Refusal(reason.partition(" ")[0].rstrip(":")).behaviour is Behaviour.RETRY


class Engine:
    """`housekeeping` is called in its thread every few seconds, whatever the disk does; `work` wakes it."""

    def __init__(
        self,
        spool: Spool,
        deliveries: Sequence[Delivery],
        work: threading.Event,
        housekeeping: Callable[[], None],
        every: float = HOUSEKEEPING_S,
        *,
        hold: Hold | None = None,
    ) -> None:
        self.spool, self.deliveries = spool, deliveries
        self.failed = False
        """Whether it ended by a bug, not by `stop`."""
        self._hold = hold
        self._housekeeping, self._every, self._work = housekeeping, every, work
        self._deadline: float | None = None
        self._answered, self._moved = 0.0, 0.0
        self._on_end: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._settled = float("-inf")
        self._requeued = time.monotonic()
        # A reading's age is judged by the clock at the start plus the time since: a clock that is set ahead meanwhile
        # would make fresh readings old. And not at once: a clock that starts ahead is soon corrected.
        self._expired = time.monotonic()
        self._clock_offset = now_ms() - int(self._expired * 1000)
        self._logged: tuple[str, float] = ("", 0.0)

    def start(self, on_end: Callable[[], None]) -> None:
        """Begin to send. `on_end` is called in the thread when it ends, for whatever reason."""
        self._on_end = on_end
        self._thread.start()

    def wake(self) -> None:
        """Report, from any thread, that there is work."""
        self._work.set()

    def stop(self, flush: float) -> None:
        """Send waiting readings for up to `flush` seconds while there is a connection that answers, then end."""
        waiting = self.spool.waiting - len(self.spool.settled)
        goes_out = waiting <= sum(delivery.at_once for delivery in self.deliveries)
        self._moved = time.monotonic()
        self._deadline = self._moved + (flush if goes_out else min(flush, BRIEF_S))
        self._work.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException:
            self.failed = True
            log.exception("the engine failed: this is a bug of iot-device")
        finally:
            self._on_end()

    def _loop(self) -> None:
        kept = float("-inf")
        while True:
            self._work.clear()
            now = time.monotonic()
            try:
                due = self._turn(now)
            except (sqlite3.Error, OSError) as error:  # the spool's disk, or the ledger's
                self._log(f"the spool {self.spool.path} or the ledger fails: {error}")
                due = TROUBLE_S
                time.sleep(TROUBLE_S)  # else each answer of the broker would retry at once
            if now - kept > self._every:
                self._housekeeping()
                kept = now
            if self._deadline is not None and (now > self._deadline or self._has_ended()):
                return
            self._work.wait(min(due, REFRESH_S))
            time.sleep(COALESCE_S)

    def _turn(self, now: float) -> float:
        """Send, delete and expire. Returns the seconds until the next turn is due."""
        if now - self._requeued > REQUEUE_S:
            self._requeued = now
            if self.spool.requeue(_may_pass):
                self._rewind()
        if self.spool.refresh():  # another command has added a reading and waits for it, or requeued some
            self._rewind()
        if self._deadline is not None:
            self._flush()
        if self._hold:
            held = self._hold.check(any(one.line and one.line.connected for one in self.deliveries))
            for delivery in self.deliveries:
                delivery.held = held
        due = min((delivery.pump(now) for delivery in self.deliveries), default=REFRESH_S)
        if len(self.spool.settled) >= SETTLE_COUNT or now - self._settled > SETTLE_S:
            self.spool.settle()
            self._settled = now
        if now - self._expired > EXPIRE_S:
            self.spool.expire(min(now_ms(), self._clock_offset + int(now * 1000)))
            self._expired = now
        return due

    def _rewind(self) -> None:
        for delivery in self.deliveries:
            delivery.rewind()
        self._flush()

    def _flush(self) -> None:
        for delivery in self.deliveries:
            delivery.flush()

    def _log(self, text: str) -> None:
        text_before, when = self._logged
        if text != text_before or time.monotonic() - when > REPEAT_S:
            self._logged = (text, time.monotonic())
            log.error("%s", text)

    def _has_ended(self) -> bool:
        """Return whether nothing more can be sent now."""
        answered = sum(delivery.last_acknowledged or 0.0 for delivery in self.deliveries)
        if answered != self._answered:
            self._answered, self._moved = answered, time.monotonic()
        if time.monotonic() - self._moved > STALL_S:
            return True
        with contextlib.suppress(sqlite3.Error):
            return all(one.idle() or not (one.line and one.line.connected) for one in self.deliveries)
        return False
