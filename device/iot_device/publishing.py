"""The commands run and publish of `iot-device`. Each returns the exit status."""

import logging
import os
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path

from iot_device import certificate, sensors, systemd, torn
from iot_device.delivery import Delivery
from iot_device.engine import HOUSEKEEPING_S, Engine
from iot_device.ledger import Ledger
from iot_device.pace import Pace
from iot_device.publisher import Publisher
from iot_device.reading import Reading
from iot_device.reasons import Refusal
from iot_device.sensors import Sensor
from iot_device.settings import Settings, SettingsError
from iot_device.spool import Spool, SpoolError
from iot_device.state import AlreadyRunningError, Lock, State, is_running, write_metrics

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 40.0  # after a TLS mismatch the SDK waits up to 30 s on purpose before it says so
FLUSH_S = 10.0
PATIENCE_S = 60.0  # how long a sensor may be overdue before the watchdog is let bite


def stop_on_signal() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def state_folder(settings: Settings) -> Path:
    """Return the folder of the spool, made if need be. Raises SettingsError."""
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"state_dir {settings.state_dir} cannot be made: {error.strerror}.") from error
    return settings.state_dir


def open_spool(settings: Settings, *, owner: bool) -> Spool:
    """Return the spool of the settings, as the publisher that owns it or beside it. Raises SettingsError."""
    path = state_folder(settings) / "spool.db"
    try:
        return Spool(path, settings.spool_max_readings, settings.spool_max_days, owner=owner)
    except SpoolError as error:
        raise SettingsError(str(error)) from error


class Device:
    """One device as `run` keeps it: sensor, spool, connection, and what it tells of itself."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        """Raise SettingsError where the settings don't do, or another publisher has the state folder."""
        self.settings = settings
        self.sensor: Sensor = sensors.make(settings)
        self.lost = 0
        """Readings that could not be stored."""
        self._watchdog = systemd.watchdog_seconds()
        every = min(HOUSEKEEPING_S, (self._watchdog or 60.0) / 3)
        try:
            self._lock = Lock(state_folder(settings))
        except (AlreadyRunningError, OSError) as error:
            raise SettingsError(f"{error}: each device needs a state_dir of its own that it may write to.") from error
        self.spool = open_spool(settings, owner=True)
        self.engine = Engine(self.spool, self._keep_house, every)
        self.delivery = Delivery(
            self.spool, settings.thing, pace=Pace(settings.rate_limit), ledger=ledger, wake=self.engine.wake
        )
        self.publisher = Publisher(settings, self._on_change)
        self.delivery.line = self.publisher
        self.engine.deliveries = [self.delivery]
        self._due = time.monotonic()
        self._measured = 0.0
        self._expiry = certificate.expiry(settings.certificate)

    def run(self, stop: threading.Event) -> None:
        """Take a reading at each interval until told to stop, or the engine fails; then send what waits."""
        self.engine.start(stop.set)
        with self.publisher:
            systemd.notify("READY=1")
            self._due = time.monotonic()
            while not stop.is_set():
                self.take()
                self._due = max(self._due + self.settings.interval, time.monotonic())
                stop.wait(self._due - time.monotonic())
            systemd.notify("STOPPING=1")
            self.engine.stop(FLUSH_S)
        self._tell()
        waiting = self.spool.waiting - len(self.spool.settled)
        self.spool.close()
        self._lock.release()
        log.info("stopped: %d readings acknowledged, %d without an answer", self.delivery.ledger.acknowledged, waiting)

    def take(self) -> None:
        """Take one reading and store it. A sensor or a disk that fails costs no more than this reading."""
        try:
            reading = Reading(self.settings.thing, self.sensor())
        except OSError as error:
            log.error("sensor %s gave no reading: %s", self.settings.sensor, error)  # noqa: TRY400 - no traceback: the fault is the sensor's
            return
        try:
            self.spool.take(self.settings.thing, [reading])
        except sqlite3.Error as error:
            self.lost += 1
            log.error("dropped reading %s: it could not be stored: %s", reading.message, error)  # noqa: TRY400 - no traceback: the fault is the disk's
        self.engine.wake()

    def _on_change(self, connected: bool, refusal: Refusal | None) -> None:
        self.delivery.on_change(connected, refusal)

    def _keep_house(self) -> None:
        overdue = time.monotonic() - self._due - self.settings.sensor_timeout
        if self._watchdog and overdue < PATIENCE_S:
            systemd.notify("WATCHDOG=1", f"STATUS={self._summary()}")
        self._tell()

    def _summary(self) -> str:
        link = "connected" if self.publisher.connected else f"not connected: {self.publisher.refusal or 'trying'}"
        return f"{self.spool.waiting} readings wait; {link}"

    def _tell(self) -> None:
        refusal = self.publisher.refusal if not self.publisher.connected else self.delivery.fault
        state = State(
            written=time.time(),
            process=os.getpid(),
            thing=self.settings.thing,
            endpoint=f"{self.settings.endpoint}:{self.settings.port}",
            connected=self.publisher.connected,
            since=self.publisher.since,
            refusal=str(refusal or ""),
            refusal_name=refusal.name if refusal else "",
            last_acknowledged=self.delivery.last_acknowledged,
            rate=self.delivery.pace.rate if self.settings.rate_limit else 0.0,
        )
        try:
            state.write(self.settings.state_dir)
            self._write_metrics(state)
        except (OSError, sqlite3.Error) as error:
            log.warning("state and metrics could not be written: %s", error)

    def _write_metrics(self, state: State) -> None:
        oldest = self.spool.oldest()
        write_metrics(
            self.settings.metrics_file or self.settings.state_dir / "metrics.prom",
            self.spool.counters() | {"dropped_disk": self.lost},
            {
                "readings_waiting": self.spool.waiting - len(self.spool.settled),
                "oldest_waiting_seconds": time.time() - oldest / 1000 if oldest else 0.0,
                "connected": float(state.connected),
                "publish_rate_limit": state.rate,
                "certificate_expiry_timestamp_seconds": self._expiry,
            },
        )


def run(settings: Settings, ledger: Path | None) -> int:
    """Publish a reading at each interval until told to stop; then send what waits."""
    stop = stop_on_signal()
    device = Device(settings, Ledger.at(ledger, go_on=True))
    log.info("reading %s every %g s; %d readings wait from before", settings.sensor, settings.interval,
             device.spool.waiting)  # fmt: skip
    device.run(stop)
    return 1 if device.engine.failed else 0


def publish(settings: Settings, temperature: float | None) -> int:
    """Publish one reading and print it once the broker has acknowledged it."""
    try:
        value = sensors.make(settings)() if temperature is None else temperature
    except OSError as error:
        print(f"iot-device: sensor {settings.sensor} gave no reading: {error}: see the settings sensor, sensor_path, "
              "sensor_command", file=sys.stderr)  # fmt: skip
        return 1
    reading = Reading(settings.thing, value)
    why = _hand_over(settings, reading) if is_running(settings.state_dir) else _publish_alone(settings, reading)
    if why is None:
        print(reading.payload().decode())
        return 0
    print(why, file=sys.stderr)
    return 1


def _hand_over(settings: Settings, reading: Reading) -> str | None:
    """Have the publisher that runs send it: AWS would end its connection for another of the same name."""
    spool = open_spool(settings, owner=False)
    try:
        spool.take(settings.thing, [reading])
        place, until = spool.last, time.monotonic() + CONNECT_TIMEOUT_S
        while spool.waits(place) and time.monotonic() < until:
            time.sleep(0.2)
        aside, waits = spool.why_aside(place), spool.waits(place)
    except sqlite3.Error as error:
        return f"the spool {spool.path} of the publisher that runs here fails ({error}): {torn.fix(error)}"
    finally:
        spool.close()
    if aside:
        return f"refused: {aside}"
    return "not acknowledged in time: it waits in the spool of the publisher that runs here" if waits else None


def _publish_alone(settings: Settings, reading: Reading) -> str | None:
    answers: list[Refusal | None] = []
    answered = threading.Event()

    def on_answer(refusal: Refusal | None) -> None:
        answers.append(refusal)
        answered.set()

    with Publisher(settings) as publisher:
        publisher.wait_connected(CONNECT_TIMEOUT_S)
        publisher.publish(reading.payload().decode(), on_answer)
        answered.wait(CONNECT_TIMEOUT_S)
    if not answers:
        return "not acknowledged in time"
    return f"refused: {answers[0]}" if answers[0] else None
