"""A running device with a failing disk, a hung broker, and bugs of its own."""

import fcntl
import json
import os
import signal
import socket
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from iot_device import run
from iot_device.connection import Connection
from iot_device.delivery import Delivery
from iot_device.engine import EXPIRE_S, FLUSH_S, Engine
from iot_device.reading import now
from iot_device.settings import Settings
from iot_device.spool import DAY_MS, Spool
from iot_device.state import AlreadyRunningError, Lock, is_running

from tests.device.a_scripted_broker import Cut, ScriptedBroker
from tests.device.harness import Answers, ask, degrees, flags, running, start
from tests.support.waiting import until

MakeSettings = Callable[..., Settings]


def preload(settings: Settings, count: int) -> Path:
    """Make a spool of so many readings; returns its file."""
    settings.state_dir.mkdir()
    path = settings.state_dir / "spool.db"
    spool = Spool(path)
    spool.take("sensor-1", [degrees("sensor-1", float(number)) for number in range(count)])
    spool.close()
    return path


def test_a_backlog_drains_after_the_broker_hung_up(
    scripted: ScriptedBroker, scripted_settings: MakeSettings
) -> None:
    """Nothing else wakes it: the next fresh reading is minutes away."""
    scripted.on_publish = lambda message: Cut(0x8B) if len(scripted.arrived) == 690 else 0
    settings = scripted_settings(interval=600, rate_limit=0)
    path = preload(settings, 2000)
    process = start("run", *flags(settings))
    assert until(lambda: len(scripted.ids) == 2001, 30), "those in flight are sent twice, and none is left"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert len(scripted.ids) == 2001
    left = Spool(path)
    assert left.waiting == 0
    left.close()


def test_a_bug_ends_it_at_once(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(run, "stop_on_signal", threading.Event)
    monkeypatch.setattr(run, "ignore_further", lambda: None)  # what later tests start would inherit it
    monkeypatch.setattr(Delivery, "pump", lambda self, now: 1 / 0)
    began = time.monotonic()
    assert run.run(scripted_settings(interval=600), None) == 1
    assert time.monotonic() - began < 20
    assert "ZeroDivisionError" in caplog.text


def test_a_message_that_the_sdk_finds_invalid_is_refused(scripted_settings: MakeSettings) -> None:
    settings = scripted_settings()
    object.__setattr__(settings, "topic", "things/#")
    answers = Answers()
    Connection(settings).publish("{}", answers)
    [refusal] = answers
    assert refusal is not None
    assert refusal.answered, "so it is retried with back-off"


@contextmanager
def systemd(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(folder / "notify"))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "300000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        yield listener


def test_a_full_disk_leaves_the_watchdog_alone(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    for name in ("settle", "expire", "_store", "counters"):
        monkeypatch.setattr(Spool, name, full)
    monkeypatch.setattr("iot_device.engine.SETTLE_S", 0.0)
    with systemd(tmp_path, monkeypatch) as listener, running(scripted_settings(interval=600), every=0.1) as device:
        heard = [listener.recv(1000).decode() for _ in range(4)]
        assert until(lambda: device.connection.connected)
        monkeypatch.undo()
    assert sum(one.startswith("WATCHDOG=1") for one in heard) >= 2
    assert device.lost == 1
    assert caplog.text.count("or the ledger fails") == 1, "logged once, not with each try"
    assert "state and metrics could not be written" in caplog.text


def test_metrics_are_for_everybody_to_read_and_the_state_is_not(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path
) -> None:
    metrics, before = tmp_path / "metrics.prom", os.umask(0o077)
    try:
        with running(scripted_settings(metrics_file=metrics), every=0.1) as device:
            assert until(metrics.exists)
        assert stat.S_IMODE(metrics.stat().st_mode) == 0o644
        assert stat.S_IMODE((device.settings.state_dir / "state.json").stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_a_damaged_spool_is_reported_and_replaced(scripted: ScriptedBroker, scripted_settings: MakeSettings) -> None:
    settings = scripted_settings(interval=0.2, rate_limit=0)
    path = preload(settings, 5000)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 3)
        file.write(b"\xff" * 65536)
    _, out = ask("status", *flags(settings))
    with running(settings, every=0.1) as device:
        assert until(lambda: device.delivery.last_acknowledged and device.spool.waiting < 5)
        assert device.spool.counters()["acknowledged"] > 2000
        assert until(lambda: "iot_device_spool_torn_total 1" in (settings.state_dir / "metrics.prom").read_text())
        status, after = ask("status", *flags(settings))
    assert "start the publisher" in " ".join(out.split()), "before"
    assert status == 0, after
    assert "note   torn" in after
    assert "could not be saved" in " ".join(after.split())


def test_checking_whether_it_runs_disturbs_nothing(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    assert not list(tmp_path.iterdir()), "no file is made, which root might own"
    Lock(tmp_path).release()
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.extend(is_running(tmp_path) for _ in range(3000))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [False] * 6000
    lock = Lock(tmp_path)
    assert is_running(tmp_path)
    with pytest.raises(AlreadyRunningError):
        Lock(tmp_path)
    lock.release()


def test_a_check_at_that_moment_does_not_keep_it_from_starting(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open() as asking:
        fcntl.flock(asking, fcntl.LOCK_SH)
        threading.Timer(0.1, lambda: fcntl.flock(asking, fcntl.LOCK_UN)).start()
        Lock(tmp_path).release()


def test_a_clock_that_is_set_ahead_expires_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path / "spool.db")
    engine = Engine(spool, [], threading.Event(), lambda: None)
    spool.take("a", [degrees("a", 1.0, now() - 40 * DAY_MS), degrees("a", 2.0)])
    engine._turn(time.monotonic())
    assert spool.waiting == 2, "not at once: a clock may start ahead and be corrected"
    ahead = now() + 400 * DAY_MS
    monkeypatch.setattr("iot_device.engine.now_ms", lambda: ahead)
    engine._turn(time.monotonic() + EXPIRE_S + 1)
    assert [json.loads(row.payload)["temp"] for row in spool.fetch("a", 0, spool.last, 9)] == [2.0]
    spool.close()


@pytest.mark.long
def test_signals_at_any_instant_end_it_and_nothing_else(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, tmp_path: Path
) -> None:
    """Thousands of them, under load: from its first reading to the last instant of Python's own end."""
    given, ledger, sent, round_ = scripted_settings(interval=0.002, rate_limit=0), tmp_path / "ledger", 0, 0
    while sent < 2000 or round_ < 8:
        process = start("run", *flags(given), "--ledger", str(ledger))
        before = len(scripted.ids)
        while len(scripted.ids) <= before + 5:
            time.sleep(0.01)
        time.sleep(round_ % 8 * 0.01)
        round_ += 1
        while process.poll() is None:
            process.send_signal((signal.SIGTERM, signal.SIGINT)[sent % 2])
            sent += 1
            time.sleep(0.0005)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "Traceback" not in err, err
        assert "stopped: " in err
    left = Spool(given.state_dir / "spool.db")
    assert left.counters()["taken"] == len(scripted.ids) + left.waiting
    left.close()


BEGINS = """
import signal, sys
from iot_device.__main__ import main
set_handler = signal.signal
signal.signal = lambda *given: (set_handler(*given), print(flush=True))[0]
sys.exit(main())
"""


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_instant_of_its_start_ends_it_quietly(
    number: signal.Signals, scripted: ScriptedBroker, scripted_settings: MakeSettings
) -> None:
    """From its first own instant on; before that, an interrupt is Python's."""
    given, ends = flags(scripted_settings(interval=600)), set()
    for step in range(16):
        process = start("run", *given, program=("-c", BEGINS))
        assert process.stdout
        process.stdout.readline()
        time.sleep(step * 0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        assert process.returncode in (0, -number), err
        ends.add(process.returncode)
    assert -number in ends, "in time"


@pytest.mark.parametrize("answer", [0, None])
def test_a_large_backlog_and_a_silent_broker_do_not_hold_up_the_end(
    answer: int | None, scripted: ScriptedBroker, scripted_settings: MakeSettings
) -> None:
    scripted.on_publish = lambda message: answer
    settings = scripted_settings(interval=600)
    preload(settings, 5000 if answer == 0 else 10)
    with running(settings) as device:
        until(lambda: len(scripted.arrived) > 5)
        stopped = time.monotonic()
    took = time.monotonic() - stopped
    assert took < FLUSH_S / 2, "it would go on for as long"
    assert device.spool.waiting > 0


def test_a_full_disk_does_not_stop_a_connected_device(
    scripted: ScriptedBroker, scripted_settings: MakeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    with running(scripted_settings(interval=0.05)) as device:
        until(lambda: device.delivery.ledger.acknowledged > 3)
        with device.spool._lock:
            device.spool._database.execute("PRAGMA query_only = 1")  # SQLITE_READONLY, as on a full or read-only disk
        arrived = len(scripted.ids)
        until(lambda: len(scripted.ids) > arrived + 20)
        assert device.lost == 0
        assert caplog.text.count("they wait in memory") == 1, "logged once, not with each reading"
        assert "remount" in caplog.text
        device.spool._database.execute("PRAGMA query_only = 0")
        until(lambda: not device.spool._held and device.spool.counters()["taken"] > arrived + 20)
    count = device.delivery.ledger.acknowledged
    assert count == len(scripted.ids)
