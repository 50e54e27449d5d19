"""The commands of `iot-device`. Each returns the exit status."""

import logging
import signal
import sys
import threading
import time
from pathlib import Path

from iot_device.ledger import Ledger
from iot_device.publisher import Publisher
from iot_device.reading import Reading
from iot_device.sensors import SENSORS, Sensor, ramp
from iot_device.settings import Settings

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 40.0  # after a TLS mismatch the SDK waits up to 30 s on purpose before it says so
DRAIN_TIMEOUT_S = 10.0


def stop_on_signal() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def run(settings: Settings) -> int:
    """Publish a reading at each interval until told to stop; then wait for what is on its way."""
    stop, ledger, sensor = stop_on_signal(), Ledger(), SENSORS[settings.sensor]()
    log.info("reading %s every %g s", settings.sensor, settings.interval)
    with Publisher(settings) as publisher:
        due = time.monotonic()
        while not stop.is_set():
            take(settings, publisher, ledger, sensor)
            due = max(due + settings.interval, time.monotonic())
            stop.wait(due - time.monotonic())
        left = publisher.drain(DRAIN_TIMEOUT_S)
    log.info("stopped: %d readings acknowledged, %d without an answer", ledger.acknowledged, left)
    return 0


def take(settings: Settings, publisher: Publisher, ledger: Ledger, sensor: Sensor) -> None:
    """Publish one reading. A sensor that fails, or a long interruption, costs no more than this reading."""
    try:
        reading = Reading(settings.thing, sensor())
    except OSError as error:
        log.error("sensor %s gave no reading: %s", settings.sensor, error)  # noqa: TRY400 - the line says it all
        return
    if not ledger.publish(publisher, reading, wait=False):
        log.error("reading %s dropped: too many wait for the broker's acknowledgement", reading.message)


def publish(settings: Settings, temperature: float | None) -> int:
    """Publish one reading and print it once the broker has acknowledged it."""
    value = SENSORS[settings.sensor]()() if temperature is None else temperature
    reading, ledger = Reading(settings.thing, value), Ledger()
    with Publisher(settings) as publisher:
        publisher.wait_connected(CONNECT_TIMEOUT_S)
        ledger.publish(publisher, reading)
        left = publisher.drain(CONNECT_TIMEOUT_S)
    if ledger.acknowledged:
        print(reading.payload().decode())
        return 0
    print("not acknowledged in time" if left else f"refused: {', '.join(ledger.refused)}", file=sys.stderr)
    return 1


def simulate(settings: Settings, devices: int, rate: float, count: int, path: Path | None) -> int:
    """Publish `count` readings at `rate` a second, of one device or of many behind a gateway; print the totals."""
    stop, ledger, sensor = stop_on_signal(), Ledger.at(path), ramp()
    names = (
        [settings.thing]
        if devices == 1
        else [f"{settings.thing}-{number}" for number in range(1, devices + 1)]
    )
    with Publisher(settings) as publisher:
        publisher.wait_connected(CONNECT_TIMEOUT_S)
        began = time.monotonic()
        for number in range(count):
            if stop.wait(max(0.0, began + number / rate - time.monotonic())):
                break
            ledger.publish(publisher, Reading(names[number % devices], sensor()))
        left = publisher.drain(CONNECT_TIMEOUT_S)
    seconds = time.monotonic() - began
    print(totals(ledger, left, seconds))
    return 0 if ledger.acknowledged == count else 1


def totals(ledger: Ledger, left: int, seconds: float) -> str:
    """Return the closing table."""
    rows = {
        "sent": str(ledger.sent),
        "acknowledged": str(ledger.acknowledged),
        "refused": ", ".join(f"{number} {name}" for name, number in ledger.refused.items()) or "0",
        "unanswered": str(left),
        "seconds": f"{seconds:.1f}",
        "rate": f"{ledger.acknowledged / seconds if seconds else 0:.1f}/s",
    }
    return "\n".join(f"{name:<13} {value:>8}" for name, value in rows.items())
