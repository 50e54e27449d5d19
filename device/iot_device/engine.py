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


class Engine:
    """Use as a context manager. `housekeeping` is called in its thread, every few seconds."""

    def __init__(self, spool: Spool, housekeeping: Callable[[], None], every: float = HOUSEKEEPING_S) -> None:
        self.spool = spool
        self.deliveries: Sequence[Delivery] = ()
        self._housekeeping, self._every = housekeeping, every
        self._work = threading.Event()
        self._deadline: float | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still works; it ends before it is told to only by a fault of its own."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """There is something to do; from any thread."""
        self._work.set()

    def stop(self, flush: float) -> None:
        """Send what waits for up to `flush` seconds, as long as there is a connection, then end."""
        self._deadline = time.monotonic() + flush
        self._work.set()
        self._thread.join()

    def _run(self) -> None:
        kept = expired = settled = float("-inf")
        while True:
            self._work.clear()
            now = time.monotonic()
            try:
                due = min((delivery.pump(now) for delivery in self.deliveries), default=REFRESH_S)
                if len(self.spool.settled) >= SETTLE_COUNT or now - settled > SETTLE_S:
                    self.spool.settle()
                    settled = now
                if now - expired > EXPIRE_S:
                    self.spool.expire(now_ms())
                    expired = now
                self.spool.refresh()
                if now - kept > self._every:
                    self._housekeeping()
                    kept = now
            except sqlite3.Error as error:
                log.error("the spool %s fails: %s", self.spool.path, error)  # noqa: TRY400 - no trace: it recurs each try
                due = TROUBLE_S
            if self._deadline is not None and (now > self._deadline or self._has_ended()):
                return
            self._work.wait(min(due, REFRESH_S))
            time.sleep(COALESCE_S)

    def _has_ended(self) -> bool:
        """Whether nothing more can be sent now."""
        with contextlib.suppress(sqlite3.Error):
            return all(one.idle() or not (one.line and one.line.connected) for one in self.deliveries)
        return False
