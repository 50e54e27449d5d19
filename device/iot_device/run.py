"""The command run: a reading at each interval, until it is stopped."""

import logging
import os
import sqlite3
import threading
import time
from pathlib import Path

from iot_device import certificate, damage, sensors, systemd
from iot_device.engine import FLUSH_S, HOUSEKEEPING_S, REPEAT_S
from iot_device.findings import counted
from iot_device.ledger import Ledger
from iot_device.reading import Reading
from iot_device.sensors import Sensor
from iot_device.settings import Settings, SettingsError
from iot_device.signals import ignore_further, stop_on_signal
from iot_device.spool import ESTIMATED, open_spool, state_folder
from iot_device.state import AlreadyRunningError, Lock, State, write_metrics
from iot_device.synchronisation import Hold
from iot_device.wiring import wire

log = logging.getLogger(__name__)

PATIENCE_S = 60.0  # how long a sensor may be overdue before the watchdog fires


class Device:
    """One device: sensor, spool, connection, and the files that report its state."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        """Raise SettingsError for invalid settings, or where another publisher uses the state folder."""
        self.settings = settings
        self._stop = threading.Event()
        self.sensor: Sensor = sensors.make(settings, self._is_stopping)
        self.lost = 0
        """Readings that could not be stored."""
        self._logged = ("", 0.0)
        self._watchdog = systemd.watchdog_seconds()
        try:
            self._lock = Lock(state_folder(settings))
        except (AlreadyRunningError, OSError) as error:
            raise SettingsError(f"{error}: each device needs a state_dir of its own that it may write to.") from error
        self.spool = open_spool(settings, owner=True)
        self._hold = Hold(self.spool)
        self.wiring = wire(
            self.spool, [settings], ledger, housekeeping=self._keep_house,
            every=min(HOUSEKEEPING_S, (self._watchdog or 60.0) / 3), hold=self._hold,
        )  # fmt: skip
        self.engine = self.wiring.engine
        [self.delivery], [self.connection] = self.wiring.deliveries, self.wiring.connections
        self._due = time.monotonic()
        self._expiry = certificate.expiry(settings.certificate)

    def run(self, stop: threading.Event) -> None:
        """Take a reading at each interval until `stop` is set or the engine fails; then send what waits."""
        self._stop = stop
        self.engine.start(stop.set)
        with self.wiring:
            systemd.notify("READY=1")
            self._due = time.monotonic()
            while not stop.is_set():
                self.take()
                self._due = max(self._due + self.settings.interval, time.monotonic())
                stop.wait(self._due - time.monotonic())
            systemd.notify("STOPPING=1")
            self.engine.stop(FLUSH_S)
        self._report()
        waiting = self.spool.waiting - len(self.spool.settled)
        self.spool.close()
        self._lock.release()
        log.info("stopped: %d readings acknowledged, %d without an answer", self.delivery.ledger.acknowledged, waiting)

    def take(self) -> None:
        """Take one reading and store it. A sensor or a disk that fails costs this reading only."""
        try:
            values = self.sensor()
        except OSError as error:
            log.error("sensor %s gave no reading: %s", self.settings.sensor, error)  # noqa: TRY400 - no traceback: the sensor failed
            return
        with self._hold.taking():
            self._store(Reading(self.settings.thing, values))
        self.engine.wake()

    def _store(self, reading: Reading) -> None:
        try:
            self.spool.take(self.settings.thing, [reading])
        except sqlite3.Error as error:
            if damage.may_pass(error) and self.spool.hold(self.settings.thing, [reading]):
                self._log_trouble(f"the spool takes no reading ({error}), they wait in memory: {damage.fix(error)}")
            else:
                self.lost += 1
                log.error("dropped reading %s: it could not be stored: %s", reading.message, error)  # noqa: TRY400 - no traceback: the disk failed

    def _is_stopping(self) -> bool:
        return self._stop.is_set()

    def _log_trouble(self, text: str) -> None:
        before, when = self._logged
        if text != before or time.monotonic() - when > REPEAT_S:
            self._logged = (text, time.monotonic())
            log.error("%s", text)

    def _keep_house(self) -> None:
        overdue = time.monotonic() - self._due - self.settings.sensor_timeout
        if self._watchdog and overdue < PATIENCE_S:
            systemd.notify("WATCHDOG=1", f"STATUS={self._summary()}")
        self._report()

    def _summary(self) -> str:
        link = "connected" if self.connection.connected else f"not connected: {self.connection.refusal or 'trying'}"
        return f"{counted(self.spool.waiting)} waiting; {link}"

    def _report(self) -> None:
        refusal = self.connection.refusal if not self.connection.connected else self.delivery.fault
        state = State(
            written=time.time(),
            process=os.getpid(),
            thing=self.settings.thing,
            endpoint=f"{self.settings.endpoint}:{self.settings.port}",
            connected=self.connection.connected,
            since=self.connection.since,
            refusal=str(refusal or ""),
            refusal_name=refusal.name if refusal else "",
            last_acknowledged=self.delivery.last_acknowledged,
            rate=self.delivery.pace.rate if self.settings.rate_limit else 0.0,
            taken_over=self.connection.taken_over,
        )
        try:
            state.write(self.settings.state_dir)
            self._write_metrics(state)
        except (OSError, sqlite3.Error) as error:
            log.warning("state and metrics could not be written: %s", error)

    def _write_metrics(self, state: State) -> None:
        oldest, count = self.spool.oldest(), self.spool.counters()
        write_metrics(
            self.settings.metrics_file or self.settings.state_dir / "metrics.prom",
            count | {"dropped_disk": self.lost},
            {
                "readings_waiting": self.spool.waiting - len(self.spool.settled),
                "oldest_waiting_seconds": time.time() - oldest / 1000 if oldest else 0.0,
                "totals_estimated": float(count.get(ESTIMATED, 0)),
                "connected": float(state.connected),
                "publish_rate_limit": state.rate,
                "certificate_expiry_timestamp_seconds": self._expiry,
            },
        )


def run(settings: Settings, ledger: Path | None) -> int:
    """Run a device until it is stopped. Returns the exit status."""
    stop = stop_on_signal()
    device = Device(settings, Ledger.at(ledger, append=True))
    log.info("reading %s every %g s; %s waiting from before", settings.sensor, settings.interval,
             counted(device.spool.waiting))  # fmt: skip
    device.run(stop)
    ignore_further()
    return 1 if device.engine.failed else 0
