"""The thread that empties the spool: it pumps each connection's delivery and keeps house."""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence

from iot_device.delivery import Delivery
from iot_device.reading import now as now_ms
from iot_device.spool import Spool

log = logging.getLogger(__name__)

COALESCE_S = 0.005  # answers that arrive within this time are one turn's work
HOUSEKEEPING_S = 5.0
REFRESH_S = 1.0  # another process may add a reading
EXPIRE_S = 600.0
SETTLE_S = 5.0
SETTLE_COUNT = 500
TROUBLE_S = 1.0
SAY_AGAIN_S = 300.0  # a fault that lasts is logged this often


class Engine:
    """`housekeeping` is called in its thread every few seconds, whatever the disk does."""

    def __init__(self, spool: Spool, housekeeping: Callable[[], None], every: float = HOUSEKEEPING_S) -> None:
        self.spool = spool
        self.deliveries: Sequence[Delivery] = ()
        self.failed = False
        """Whether it ended by a fault of its own, before it was told to."""
        self._housekeeping, self._every = housekeeping, every
        self._work = threading.Event()
        self._deadline: float | None = None
        self._on_end: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._settled = float("-inf")
        # Readings grow old by the clock at the start and the time since, not by a clock that is set ahead meanwhile:
        # it would make old what was just taken. And not at once, for a clock that starts ahead is soon set right.
        self._expired = time.monotonic()
        self._clock_offset = now_ms() - int(self._expired * 1000)
        self._said: tuple[str, float] = ("", 0.0)

    def start(self, on_end: Callable[[], None]) -> None:
        """Begin to send. `on_end` is called, in the thread, when it ends, be it by a fault."""
        self._on_end = on_end
        self._thread.start()

    def wake(self) -> None:
        """There is something to do; from any thread."""
        self._work.set()

    def stop(self, flush: float) -> None:
        """Send what waits for up to `flush` seconds, as long as there is a connection, then end."""
        self._deadline = time.monotonic() + flush
        self._work.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop()
        except BaseException:
            self.failed = True
            log.exception("the engine failed, a fault of iot-device itself")
        finally:
            self._on_end()

    def _loop(self) -> None:
        kept = float("-inf")
        while True:
            self._work.clear()
            now = time.monotonic()
            try:
                due = self._turn(now)
            except (sqlite3.Error, OSError) as error:  # of the spool's disk, or the ledger's
                self._say(f"the spool {self.spool.path} or the ledger fails: {error}")
                due = TROUBLE_S
                time.sleep(TROUBLE_S)  # else each answer of the broker's were one more try
            if now - kept > self._every:
                self._housekeeping()
                kept = now
            if self._deadline is not None and (now > self._deadline or self._has_ended()):
                return
            self._work.wait(min(due, REFRESH_S))
            time.sleep(COALESCE_S)

    def _turn(self, now: float) -> float:
        """Send and tidy up. Returns seconds until there is more to do by itself."""
        self.spool.refresh()
        due = min((delivery.pump(now) for delivery in self.deliveries), default=REFRESH_S)
        if len(self.spool.settled) >= SETTLE_COUNT or now - self._settled > SETTLE_S:
            self.spool.settle()
            self._settled = now
        if now - self._expired > EXPIRE_S:
            self.spool.expire(min(now_ms(), self._clock_offset + int(now * 1000)))
            self._expired = now
        return due

    def _say(self, text: str) -> None:
        said, when = self._said
        if text != said or time.monotonic() - when > SAY_AGAIN_S:
            self._said = (text, time.monotonic())
            log.error("%s", text)

    def _has_ended(self) -> bool:
        """Whether nothing more can be sent now."""
        with contextlib.suppress(sqlite3.Error):
            return all(one.idle() or not (one.line and one.line.connected) for one in self.deliveries)
        return False
