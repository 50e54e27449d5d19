"""A spool that a failing disk has torn: told from other faults, put by for a person to look at, and read once more.

https://www.sqlite.org/rescode.html; https://www.sqlite.org/howtocorrupt.html
"""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

TORN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# The log beside a database belongs to it by its name. It moves first: left behind, it would be played into the next
# database of that name.
PARTS = ("-wal", "-shm", "")
PLACES = 1 << 53  # a place beyond is no place
Row = tuple[int, str, int, str]
"""Place, thing, time taken in ms, payload."""


def _kind(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # an extended code has its kind in the low byte


def is_torn(error: Exception) -> bool:
    """Whether an error says that the file itself is spoilt."""
    return _kind(error) in TORN or (isinstance(error, sqlite3.Error) and "decode to UTF-8" in str(error))


FOLDER = "its folder must be there and belong to this user; state_dir names it"


def fix(error: Exception, otherwise: str = FOLDER) -> str:
    """Return what a person can do about an error of the spool's."""
    if is_torn(error):
        return (
            "its disk has torn it; start the publisher: where it comes upon the tear it puts the file by, saves what "
            "can be read, and goes on with a new one"
        )
    if _kind(error) == sqlite3.SQLITE_FULL:
        return "its disk is full: make room there, or set state_dir to a place that has it"
    if _kind(error) == sqlite3.SQLITE_IOERR:
        return "its disk fails, and dmesg says more: replace it, or set state_dir to another"
    return otherwise


def put_by(path: Path) -> Path:
    """Move a database out of the way, with what belongs to it. Returns where it is now. Raises OSError."""
    away = path.with_name(f"{path.name}.spoilt-{time.time_ns()}")
    _move(path, away)
    return away


def put_back(away: Path, path: Path) -> None:
    """Undo it, whatever was begun in its place. Raises OSError."""
    for part in PARTS:
        path.with_name(path.name + part).unlink(missing_ok=True)
    _move(away, path)


def _move(path: Path, to: Path) -> None:
    for part in PARTS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + part).rename(to.with_name(to.name + part))


def spoilt(path: Path) -> list[Path]:
    """Return what was put by in a database's place, the oldest first. Raises OSError."""
    return sorted(one for one in path.parent.glob(f"{path.name}.spoilt-*") if not one.name.endswith(PARTS[:2]))


def readings(database: sqlite3.Connection) -> Iterator[Row]:
    """Give the readings that can be read, from both ends up to the tear."""
    last = 0
    for row in _whole(database, "ASC"):
        last = row[0]
        yield row
    for row in _whole(database, "DESC"):
        if row[0] <= last:
            return
        yield row


def _whole(database: sqlite3.Connection, order: str) -> Iterator[Row]:
    # without an index, which may be what is torn
    query = f"SELECT seq, thing, taken, payload FROM readings NOT INDEXED ORDER BY seq {order}"  # noqa: S608 - `order` is one of two words of ours
    with suppress(sqlite3.Error):
        for row in database.execute(query):
            if _is_whole(*row):
                yield row


def _is_whole(seq: object, thing: object, taken: object, payload: object) -> bool:
    """Whether a row is one that was written, and not what the disk made of it."""
    if not (isinstance(seq, int) and 0 < seq < PLACES and isinstance(thing, str) and isinstance(taken, int)):
        return False
    try:
        return isinstance(payload, str) and isinstance(json.loads(payload), dict)
    except ValueError:
        return False


def counters(database: sqlite3.Connection) -> dict[str, int]:
    """Return the counters; none where they can't be read."""
    with suppress(sqlite3.Error):
        found = database.execute("SELECT name, value FROM counters").fetchall()
        return {name: value for name, value in found if isinstance(value, int) and value >= 0}
    return {}
