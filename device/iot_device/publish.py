"""The command publish: one reading, printed once the broker has acknowledged it."""

import sqlite3
import sys
import threading
import time

from iot_device import damage, sensors
from iot_device.connection import CONNECT_TIMEOUT_S, Connection
from iot_device.measurements import Value
from iot_device.reading import Reading
from iot_device.reasons import Refusal
from iot_device.settings import Settings, SettingsError
from iot_device.spool import DROPPED_UPTO, open_spool
from iot_device.state import AlreadyRunningError, locked

POLL_S = 0.2


def publish(settings: Settings, temperature: float | None, given: str | None) -> int:
    """Publish one reading, the sensor's unless its values are given, and print it. Returns the exit status."""
    try:
        values = _values(settings, temperature, given)
    except OSError as error:
        print(f"iot-device: sensor {settings.sensor} gave no reading: {error}: check the settings sensor, sensor_path, "
              "sensor_command", file=sys.stderr)  # fmt: skip
        return 1
    reading = Reading(settings.thing, values)
    try:
        with locked(settings.state_dir):  # else a publisher that starts meanwhile takes this connection over
            failure = _publish_alone(settings, reading)
    except AlreadyRunningError:
        failure = _hand_over(settings, reading)
    if failure is None:
        print(reading.payload())
        return 0
    print(failure, file=sys.stderr)
    return 1


def _values(settings: Settings, temperature: float | None, given: str | None) -> dict[str, Value]:
    """Return the values to publish. Raises OSError, SettingsError."""
    try:
        if given is not None:
            return settings.measurements.parse(given)
        if temperature is not None:
            return settings.measurements.number(temperature)
    except ValueError as error:
        raise SettingsError(f"{given or temperature} cannot be published: {error}.") from error
    return sensors.make(settings)()


def _hand_over(settings: Settings, reading: Reading) -> str | None:
    """Have the running publisher send it: AWS would end its connection for a second one of the same name.

    Returns why it was not acknowledged, if so.
    """
    spool = open_spool(settings, owner=False)
    try:
        before = spool.counters()
        spool.take(settings.thing, [reading])
        seq, until = spool.last, time.monotonic() + CONNECT_TIMEOUT_S
        while spool.waits(seq) and time.monotonic() < until:
            time.sleep(POLL_S)
        reason, waits = spool.why_quarantined(seq), spool.waits(seq)
        after = spool.counters()
        if not (waits or reason) and after[DROPPED_UPTO] >= seq:
            return "dropped, since too many readings wait: raise spool_max_readings"
        if not (waits or reason) and after["dropped_torn"] > before["dropped_torn"]:
            return "perhaps dropped, since the disk has damaged the spool: iot-device status"
    except sqlite3.Error as error:
        return f"the spool {spool.path} of the running publisher fails ({error}): {damage.fix(error)}"
    finally:
        spool.close()
    if reason:
        return f"refused: {reason}"
    return "not acknowledged in time: it waits in the spool of the running publisher" if waits else None


def _publish_alone(settings: Settings, reading: Reading) -> str | None:
    """Return why it was not acknowledged, if so. Raises NotConnectedError."""
    answers: list[Refusal | None] = []
    answered = threading.Event()

    def on_answer(refusal: Refusal | None) -> None:
        answers.append(refusal)
        answered.set()

    with Connection(settings) as connection:
        connection.wait_connected(CONNECT_TIMEOUT_S)
        connection.publish(reading.payload(), on_answer)
        answered.wait(CONNECT_TIMEOUT_S)
    if not answers:
        return "not acknowledged in time"
    return f"refused: {answers[0]}" if answers[0] else None
