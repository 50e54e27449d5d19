"""A spool that a failing disk has damaged: recognised, moved away for a person to look at, and salvaged.

https://www.sqlite.org/rescode.html; https://www.sqlite.org/howtocorrupt.html
"""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# The log beside a database belongs to it by its name. It moves first: left behind, SQLite would apply it to the next
# database of that name.
PARTS = ("-wal", "-shm", "")
POSITIONS = 1 << 53  # no position is beyond
Row = tuple[int, str, int, str]
"""Position, thing, time taken in ms, payload."""


def _kind(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # an extended code has its kind in the low byte


def is_damage(error: Exception) -> bool:
    """Return whether an error says that the file itself is damaged."""
    return _kind(error) in DAMAGE or (isinstance(error, sqlite3.Error) and "decode to UTF-8" in str(error))


FOLDER = "its folder, state_dir, must exist and belong to this user"


def fix(error: Exception, otherwise: str = FOLDER) -> str:
    """Return what a person can do about an error of the spool."""
    if is_damage(error):
        return (
            "its disk has damaged it; start the publisher, which moves the file away, saves what can be read, and "
            "goes on with a new one"
        )
    if _kind(error) == sqlite3.SQLITE_FULL:
        return "its disk is full: make room there, or set state_dir to a place that has it"
    if _kind(error) == sqlite3.SQLITE_IOERR:
        return "its disk fails, and dmesg says more: replace it, or set state_dir to another"
    return otherwise


def move_away(path: Path) -> Path:
    """Move a database and its log out of the way. Returns its new path. Raises OSError."""
    away = path.with_name(f"{path.name}.spoilt-{time.time_ns()}")
    _move(path, away)
    return away


def move_back(away: Path, path: Path) -> None:
    """Undo that, replacing any new database. Raises OSError."""
    for part in PARTS:
        path.with_name(path.name + part).unlink(missing_ok=True)
    _move(away, path)


def _move(path: Path, to: Path) -> None:
    for part in PARTS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + part).rename(to.with_name(to.name + part))


def moved(path: Path) -> list[Path]:
    """Return the damaged databases that were moved away, the oldest first. Raises OSError."""
    return sorted(one for one in path.parent.glob(f"{path.name}.spoilt-*") if not one.name.endswith(PARTS[:2]))


def readings(database: sqlite3.Connection) -> Iterator[Row]:
    """Yield the readings that can be read, from both ends up to the damage."""
    last = 0
    for row in _whole(database, "ASC"):
        last = row[0]
        yield row
    for row in _whole(database, "DESC"):
        if row[0] <= last:
            return
        yield row


def _whole(database: sqlite3.Connection, order: str) -> Iterator[Row]:
    # without an index, which may be damaged itself
    query = f"SELECT seq, thing, taken, payload FROM readings NOT INDEXED ORDER BY seq {order}"  # noqa: S608 - `order` is one of two words of ours
    with suppress(sqlite3.Error):
        for row in database.execute(query):
            if _is_whole(*row):
                yield row


def _is_whole(seq: object, thing: object, taken: object, payload: object) -> bool:
    """Return whether a row is as it was written."""
    if not (isinstance(seq, int) and 0 < seq < POSITIONS and isinstance(thing, str) and isinstance(taken, int)):
        return False
    try:
        return isinstance(payload, str) and isinstance(json.loads(payload), dict)
    except ValueError:
        return False


def counters(database: sqlite3.Connection) -> dict[str, int]:
    """Return the counters; none if they cannot be read."""
    with suppress(sqlite3.Error):
        found = database.execute("SELECT replace(name, 'set_aside', 'quarantined'), value FROM counters").fetchall()
        return {name: value for name, value in found if isinstance(value, int) and value >= 0}
    return {}
