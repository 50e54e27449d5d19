"""The salvage of a damaged spool: killed at any instant or on a full disk, it loses nothing that can be read."""

import errno
import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from iot_device import damage, wal
from iot_device.damage import FORMER_COLUMNS
from iot_device.spool import FORMER, Spool, SpoolError

from tests.device.harness import degrees
from tests.device.test_damage import deliver, flip_one

COUNT, ACKNOWLEDGED = 12, 4
NOW = 1_767_225_600_000
PAYLOADS = [degrees("sensor-1", number / 100, NOW + number).payload() for number in range(COUNT)]
FRAME = wal.FRAME.size + wal.PAGE
WRITES = {"open", "mkdir", "rename", "unlink", "rmdir", "write", "fsync", "execute", "executemany"}
LOOKUPS = {"_all", "_noted", "_neighbours", "counters", "_number"}


def cut_log(path: Path) -> None:
    flip_one(wal.log_of(path), wal.HEADER.size + FRAME * 20 + 1000, 4)


def lose_database(path: Path) -> None:
    path.unlink()


def flip_header(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    flip_one(path, 47, 1)


def former(path: Path) -> None:
    """Make it a spool of release 1.0."""
    path.rename(path.with_name("new.db"))
    wal.log_of(path).rename(wal.log_of(path.with_name("new.db")))
    with closing(sqlite3.connect(path)) as database:
        database.executescript(f"""
{FORMER}; CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
ATTACH '{path.with_name("new.db")}' AS new;
INSERT INTO readings SELECT {FORMER_COLUMNS} FROM new.readings; INSERT INTO counters SELECT * FROM new.counters;
""")  # noqa: S608 - names of ours
    damage.remove(path.with_name("new.db"))


HARMS: list[Callable[[Path], None]] = [cut_log, lose_database, flip_header, former]


@pytest.fixture(scope="module", name="spool")
def _spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spool whose readings are in the log, each with a commit of its own."""
    folder, copy = tmp_path_factory.mktemp("spool"), tmp_path_factory.mktemp("copy") / "spool"
    spool = Spool(folder / "spool.db")
    for number, payload in enumerate(PAYLOADS):
        if number == COUNT // 2:
            spool.acknowledge(range(1, ACKNOWLEDGED + 1))
        spool.take_rows([("sensor-1", NOW + number, payload)])
    shutil.copytree(folder, copy)
    spool.close()
    return copy


def killed(path: Path, at: int) -> bool:
    """Open the spool in a process that ends before one of the calls that change something. Returns whether it did."""
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1] == signal.SIGKILL
    calls = 0

    def count(frame: FrameType, event: str, function: Any) -> None:
        nonlocal calls
        if event == "c_call" and function.__name__ in WRITES and frame.f_code.co_name not in LOOKUPS:
            calls += 1
            if calls == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    try:
        Spool(path)
    finally:
        os._exit(0)


@pytest.mark.long
@pytest.mark.parametrize("harm", HARMS)
def test_a_salvage_that_is_killed_begins_again(harm: Callable[[Path], None], spool: Path, tmp_path: Path) -> None:
    damaged, at = shutil.copytree(spool, tmp_path / "damaged"), 0
    harm(damaged / "spool.db")
    was_killed = True
    while was_killed:
        at += 1
        path = shutil.copytree(damaged, tmp_path / str(at)) / "spool.db"
        was_killed = killed(path, at)
        with suppress(SpoolError):  # it leaves all to the publisher
            Spool(path, owner=False).close()
        assert sorted(deliver(path)) == sorted(PAYLOADS[ACKNOWLEDGED:]), f"killed before call {at}"
        assert not list(path.parent.glob("*unsaved*")), f"killed before call {at}"
        if harm in {cut_log, lose_database}:  # in the others nothing may be left to do
            again = Spool(path)
            assert (again.counters()["torn"], len(damage.moved(path))) == (1, 1), f"killed before call {at}"
            again.close()
        shutil.rmtree(path.parent)
    assert at > 20


def test_a_disk_without_room_for_copies_costs_no_reading(
    spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, copied = shutil.copytree(spool, tmp_path / "spool") / "spool.db", []

    def fails(_: Path, to: Path) -> None:
        copied.append(to)
        to.write_bytes(b"a part")
        if len(copied) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    cut_log(path)
    monkeypatch.setattr(shutil, "copyfile", fails)
    assert sorted(deliver(path)) == sorted(PAYLOADS[ACKNOWLEDGED:])
    assert (len(copied), len(damage.moved(path)), list(path.parent.glob("*copies*"))) == (2, 1, [])


def test_a_save_from_copies_that_fails_is_tried_without_them(
    spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, expected = shutil.copytree(spool, tmp_path / "spool") / "spool.db", damage.expected

    def fails(database: sqlite3.Connection) -> int | None:
        [[_, _, file]] = database.execute("PRAGMA database_list").fetchall()
        if "copies" in file:
            raise sqlite3.OperationalError("database or disk is full")
        return expected(database)

    cut_log(path)
    monkeypatch.setattr(damage, "expected", fails)
    assert sorted(deliver(path)) == sorted(PAYLOADS[ACKNOWLEDGED:])
    assert len(damage.moved(path)) == 1
