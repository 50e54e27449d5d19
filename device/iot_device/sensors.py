"""Where readings come from."""

import contextlib
import ctypes
import itertools
import os
import random
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from iot_device.measurements import Measurement, Measurements, Value
from iot_device.settings import Settings, SettingsError

Sensor = Callable[[], dict[str, Value]]
"""Returns the values of one reading by measurement. Raises OSError if there are none."""

ROOM = (Decimal(11), Decimal(31))  # degrees Celsius, for a simulated measurement without limits
RAMP = (Decimal(20), Decimal(60))
OUTPUT_BYTES = 65_536  # that a command may print
POLL_S = 0.1
STATES = ("idle", "running", "fault")


def simulated(measurements: Measurements) -> Sensor:
    """Return a sensor with every measurement: numbers wander around a middle, the others change now and then."""
    sources = {name: _wander(one) for name, one in measurements.items()}
    return lambda: {name: next(source) for name, source in sources.items()}


def _wander(one: Measurement) -> Iterator[Value]:
    if one.type == "boolean":
        yield from _seldom([False, True])
    elif one.type == "string":
        yield from _seldom([state[: one.max_length] for state in STATES])
    low, high = map(float, _limits(one, ROOM))
    middle, step = (low + high) / 2, (high - low) / 100
    value = middle
    while True:
        value += random.uniform(-step, step) + (middle - value) * 0.02  # noqa: S311 - a made-up measurement, no secret
        value = min(max(value, low), high)
        yield round(value) if one.type == "integer" else round(Decimal(value), 2)


def _limits(one: Measurement, default: tuple[Decimal, Decimal]) -> tuple[Decimal, Decimal]:
    """Return the limits of a number; where one is not declared, the default's or as far from the other."""
    low, high = default
    span = high - low
    if one.minimum is not None:
        low, high = one.minimum, max(high, one.minimum + span)
    if one.maximum is not None:
        low, high = low if one.minimum is not None else min(low, one.maximum - span), one.maximum
    return low, high


def _seldom(values: list[Value]) -> Iterator[Value]:
    current = 0
    while True:
        if random.random() < 0.05:  # noqa: S311 - a made-up measurement, no secret
            current = (current + 1) % len(values)
        yield values[current]


def ramp(measurements: Measurements, count: int = 4000) -> Sensor:
    """Return a simulated sensor whose first number rises in `count` steps, so that rows differ by value too."""
    sensor = simulated(measurements)
    numbers = [one for one in measurements.values() if one.type == "number"]
    steps = itertools.cycle(range(count))

    def read() -> dict[str, Value]:
        values, step = sensor(), next(steps)
        for one in numbers[:1]:
            low, high = _limits(one, RAMP)
            values[one.name] = low + round((high - low) * step / count, 6)
        return values

    return read


def cpu(path: Path, measurements: Measurements) -> Sensor:
    """Return the sensor of a thermal zone, which gives thousandths of a degree.

    https://www.kernel.org/doc/Documentation/thermal/sysfs-api.txt
    """

    def read() -> dict[str, Value]:
        try:
            thousandths = int(path.read_text())
        except ValueError as error:
            raise OSError(f"{path} holds no whole number") from error
        try:
            return measurements.number(Decimal(thousandths) / 1000)
        except ValueError as error:
            raise OSError(f"{path}: {error}") from error

    return read


def command(
    line: str, timeout: float, measurements: Measurements, is_stopping: Callable[[], bool] = lambda: False
) -> Sensor:
    """Return a sensor that runs a shell command, which may take `timeout` seconds.

    It prints one number, or a JSON object of measurements.
    """
    _adopt_orphans()

    def read() -> dict[str, Value]:
        status, out, err = _run(line, timeout, is_stopping)
        output = (err.strip() or out.strip())[-200:]
        if status:
            raise OSError(f"{line!r} ended with status {status} and printed {output!r}")
        try:
            return measurements.parse(out)
        except ValueError as error:
            raise OSError(f"{line!r} gave no number and no measurements but {output!r}: {error}") from error

    return read


def _run(line: str, timeout: float, is_stopping: Callable[[], bool]) -> tuple[int, str, str]:
    """Return status, output and errors of a shell command. Raises OSError if it takes too long or prints too much.

    It runs in a session of its own. All of that session is killed at the end; on Linux also what it started in others.
    """
    if "\0" in line:
        raise OSError("a command cannot have the character NUL in it")
    until = time.monotonic() + timeout
    with (
        _adopted_are_killed(),
        subprocess.Popen(
            ["/bin/sh", "-c", line], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, bufsize=0,
        ) as process,
        selectors.DefaultSelector() as selector,
    ):  # fmt: skip
        try:
            printed: dict[Any, bytes] = {process.stdout: b"", process.stderr: b""}
            for stream in printed:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ)
            while selector.get_map():
                ended = process.poll() is not None
                ready = selector.select(0 if ended else POLL_S)
                for key, _ in ready:
                    data = os.read(key.fd, 65536)
                    printed[key.fileobj] += data
                    if not data:
                        selector.unregister(key.fileobj)
                if max(map(len, printed.values())) > OUTPUT_BYTES:
                    raise OSError(f"{line!r} printed more than {OUTPUT_BYTES} bytes")
                if ended and not ready:  # what it left running may hold the pipes open
                    break
                if time.monotonic() > until:
                    raise OSError(f"{line!r} did not end within {timeout:g} s")
                if is_stopping():
                    raise OSError(f"{line!r} was stopped")
            status = process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise OSError(f"{line!r} did not end within {timeout:g} s") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        out, err = printed.values()
    try:
        return status, out.decode(errors="replace" if status else "strict"), err.decode(errors="replace")
    except UnicodeDecodeError as error:
        raise OSError(f"{line!r} printed what is no UTF-8: {error}") from error


PR_SET_CHILD_SUBREAPER = 36
CHILDREN = Path("/proc/self/task")  # of each thread; Linux has them
REAP_S = 1.0  # a process in an uninterruptible sleep ends later, and is reaped after a later command


def _adopt_orphans() -> None:
    """Become the parent of what a command leaves running, instead of process 1 (prctl(2)), to find it."""
    if (CHILDREN / str(os.getpid()) / "children").exists():
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@contextlib.contextmanager
def _adopted_are_killed() -> Iterator[None]:
    try:
        yield
    finally:
        until = time.monotonic() + REAP_S
        spared: set[int] = set()
        while adopted := _adopted() - spared:  # killed ones leave their own children behind
            for process in adopted:
                if not _is_reaped(process):
                    try:
                        os.kill(process, signal.SIGKILL)
                    except PermissionError:  # it runs as somebody else
                        spared.add(process)
            if time.monotonic() > until:
                break
            time.sleep(0.01)


def _is_reaped(process: int) -> bool:
    try:
        return os.waitpid(process, os.WNOHANG)[0] == process
    except ChildProcessError:
        return True


def _adopted() -> set[int]:
    """Return the children that are in another session than this process: no command can leave one for this."""
    found = set()
    for file in CHILDREN.glob("*/children"):
        with contextlib.suppress(OSError):
            found |= set(map(int, file.read_text().split()))
    return {process for process in found if _session(process) != os.getsid(0)}


def _session(process: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(process)
    return os.getsid(0)


def make(settings: Settings, is_stopping: Callable[[], bool] = lambda: False) -> Sensor:
    """Return the sensor that the settings name; a command is killed once `is_stopping`. Raises SettingsError."""
    if settings.sensor == "cpu":
        return cpu(settings.sensor_path, settings.measurements)
    if settings.sensor == "command":
        if not settings.sensor_command:
            raise SettingsError(
                "sensor command needs sensor_command: a command that prints a number, or a JSON object of measurements."
            )
        return command(settings.sensor_command, settings.sensor_timeout, settings.measurements, is_stopping)
    return simulated(settings.measurements)
