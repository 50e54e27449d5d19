"""A spool that a failing disk has damaged: recognised, moved away, and salvaged reading by reading.

https://www.sqlite.org/rescode.html; https://www.sqlite.org/howtocorrupt.html
"""

import json
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
FAILURES = (sqlite3.Error, UnicodeDecodeError)  # the latter where SQLite's message quotes damaged text
PASSING = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
           sqlite3.SQLITE_BUSY)  # fmt: skip
# The log beside a database belongs to it by its name. It moves away first, and back last: left behind, SQLite would
# apply it to the next database of that name.
PARTS = ("-wal", "-shm", "")
POSITIONS = 1 << 53  # no position is beyond
PAGE_ROWS = 40  # readings of the shortest kind in a page of 4 KiB
NEAR, WALKED_TO = 8, 20_000  # positions from which a walk begins; missing ones that are worth it
LOOKED_UP = 2_000_000  # positions looked up one by one, some seconds for each million
GONE = ("acknowledged", "dropped_count", "dropped_age", "dropped_torn", "quarantined")


# The last position, and the last one before it that is free: where a reading goes whose own position is damaged.
GAP = """SELECT coalesce(max(seq), 0), (SELECT max(seq) - 1 FROM readings AS one WHERE NOT EXISTS
    (SELECT 1 FROM readings AS other WHERE other.seq = one.seq - 1)) FROM readings"""


class Row(NamedTuple):
    """A reading in the spool; `taken` is in ms."""

    seq: int
    thing: str
    taken: int
    payload: str

    @property
    def payload_digest(self) -> int:
        """Digest of the payload alone."""
        return zlib.crc32(self.payload.encode())

    @property
    def row_digest(self) -> int:
        """Digest of all columns, so that damage to any of them is noticed."""
        return zlib.crc32("\0".join(map(str, self)).encode())


class DamageError(sqlite3.DatabaseError):
    """The content is damaged although SQLite can read it."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


@contextmanager
def readable_errors() -> Iterator[None]:
    """Raise DamageError where Python cannot read SQLite's error, since it quotes damaged text."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise DamageError(f"an error that quotes it cannot be read: {error}") from error


def _kind(error: Exception) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # an extended code has its kind in the low byte


def is_damage(error: Exception) -> bool:
    """Return whether an error says that the file itself is damaged."""
    return _kind(error) in DAMAGE or (isinstance(error, sqlite3.Error) and "decode to UTF-8" in str(error))


def is_damage_at_start(error: Exception) -> bool:
    """Return whether an error of the first statements says so: they are right, so the file is not."""
    return is_damage(error) or _kind(error) == sqlite3.SQLITE_ERROR


def may_pass(error: Exception) -> bool:
    """Return whether the disk is full, read-only or failing: the next attempt may succeed."""
    return _kind(error) in PASSING


FOLDER = "its folder, state_dir, must exist and belong to this user"
FIXES = {
    sqlite3.SQLITE_FULL: "its disk is full: make room there, or set state_dir to a place that has it",
    sqlite3.SQLITE_READONLY: "its disk or file is read-only: remount it (mount -o remount,rw), give state_dir to this "
    "user, or set state_dir to another disk",
    sqlite3.SQLITE_IOERR: "its disk fails, and dmesg says more: replace it, or set state_dir to another",
}


def fix(error: Exception, otherwise: str = FOLDER) -> str:
    """Return what a person can do about an error of the spool."""
    if is_damage(error):
        return (
            "its disk has damaged it; start the publisher, which moves the file away, saves what can be read, and "
            "goes on with a new one"
        )
    return FIXES.get(_kind(error), otherwise)


def unsaved(path: Path) -> Path:
    """Return where a damaged database is until its readings are saved in a new one."""
    return path.with_name(f"{path.name}.unsaved")


def move_away(path: Path) -> Path:
    """Move a database and its log there. Returns its new path. Raises OSError."""
    _move(path, unsaved(path))
    unsaved(path).touch()  # there may be a log alone
    return unsaved(path)


def move_back(path: Path) -> None:
    """Undo that, also where it was interrupted, replacing any new database. Raises OSError."""
    if unsaved(path).exists():
        remove(path)
    _move(unsaved(path), path, PARTS[::-1])


def keep(path: Path) -> Path:
    """Give a database whose readings are saved the name that it keeps, and return that. Raises OSError."""
    kept = path.with_name(f"{path.name}.spoilt-{time.time_ns()}")
    _move(unsaved(path), kept)
    return kept


def is_replaced(path: Path) -> bool:
    """Return whether the readings of a damaged database are being saved, or were when the publisher was killed."""
    return any(unsaved(path).with_name(unsaved(path).name + part).exists() for part in PARTS)


def end_replacement(path: Path) -> None:
    """End what a kill interrupted: undo it, unless the readings are saved. Raises sqlite3.Error and OSError."""
    if unsaved(path).exists() and _has_schema(path):
        keep(path)
    elif is_replaced(path):
        move_back(path)


def _has_schema(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as database:
            return database.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
    except sqlite3.Error as error:
        if is_damage(error):
            return False
        raise


def remove(path: Path) -> None:
    """Delete a database and its log. Raises OSError."""
    for part in PARTS:
        path.with_name(path.name + part).unlink(missing_ok=True)


def _move(path: Path, to: Path, parts: Sequence[str] = PARTS) -> None:
    for part in parts:
        with suppress(FileNotFoundError):
            path.with_name(path.name + part).rename(to.with_name(to.name + part))


def moved(path: Path) -> list[Path]:
    """Return the damaged databases that were moved away, the oldest first. Raises OSError."""
    return sorted(one for one in path.parent.glob(f"{path.name}.spoilt-*") if not one.name.endswith(PARTS[:2]))


# What is the same in the header of each spool, by position; and no size, for which SQLite then takes the file's:
# https://www.sqlite.org/fileformat.html#the_database_header
HEADER = {0: b"SQLite format 3\0\x10\0", 18: b"\2\2\0\x40\x20\x20", 28: bytes(4), 44: b"\0\0\0\4", 52: bytes(4),
          56: b"\0\0\0\1", 72: bytes(20)}  # fmt: skip


def _header(path: Path) -> bytes:
    with suppress(OSError), path.open("rb") as file:
        return file.read(100)
    return b""


def has_foreign_version(path: Path) -> bool:
    """Return whether SQLite takes the file for one of a later release, which it reads and does not write."""
    return not set(_header(path)[18:20]) <= {1, 2}


def repair_header(path: Path) -> None:
    """Write anew what never differs in a header, where there is one. Raises OSError."""
    if len(_header(path)) == 100:
        with path.open("r+b") as file:
            for at, part in HEADER.items():
                file.seek(at)
                file.write(part)


def opened(path: Path) -> sqlite3.Connection:
    """Open a damaged database, so that damaged text is no error: the digests find what that changes."""
    database = sqlite3.connect(path, isolation_level=None)
    database.text_factory = lambda data: data.decode(errors="replace")
    database.execute("PRAGMA writable_schema = ON")  # one damaged entry of the schema would hide all tables
    return database


def repair_schema(path: Path, schema: Mapping[str, str]) -> None:
    """Write the text of the schema anew where it is damaged. Raises sqlite3.Error where it cannot be read."""
    database = opened(path)
    try:
        rows = dict(database.execute("SELECT rowid, name FROM sqlite_master ORDER BY rootpage").fetchall())
        order = ["readings", "sqlite_sequence", *schema]  # in which the tables are made
        missing = [name for name in dict.fromkeys(order) if name not in rows.values()]
        for rowid, name in rows.items():
            table = name if name in order else missing.pop(0) if missing else name
            sql = schema.get(table, "CREATE TABLE sqlite_sequence(name,seq)")
            if table in order:
                database.execute(
                    "UPDATE sqlite_master SET type = 'table', name = ?, tbl_name = ?, sql = ? WHERE rowid = ?",
                    (table, table, sql, rowid),
                )
    finally:
        database.close()


def copy_readings(old: sqlite3.Connection, new: sqlite3.Connection, last: int) -> None:
    """Copy all readings that any query of the old database still finds and that are as they were written.

    `last` is the last position, 0 if unknown. A damaged column beside the payload is derived from the payload.
    """
    doubtful: list[Row] = []

    def whole() -> Iterator[tuple[Any, ...]]:
        for row in filter(_is_intact, _all(old, last)):
            written = Row(*row[:4])
            if _is_whole(row):
                yield stored(written)
            else:
                doubtful.append(written)

    new.executemany(INSERT, whole())
    things = Counter(dict(new.execute("SELECT thing, count(*) FROM readings GROUP BY thing").fetchall()))
    for row in doubtful:
        if not new.execute("SELECT 1 FROM readings WHERE payload = ?", (row.payload,)).fetchone():
            [highest, gap] = new.execute(GAP).fetchone()
            is_free = not new.execute("SELECT 1 FROM readings WHERE seq = ?", (row.seq,)).fetchone()
            is_position = row.seq <= max(last, highest, last_position(old, highest))
            seq = row.seq if is_free and is_position else gap or highest + 1
            new.execute(INSERT, stored(_repaired(row, things)._replace(seq=seq)))


def copy_quarantine(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Copy the quarantined readings that can be read; before release 2.0 the table was called aside."""
    for table in ("quarantine", "aside"):
        with suppress(*FAILURES):
            for row in old.execute(f"SELECT * FROM {table}"):  # noqa: S608 - one of two words
                new.execute("INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?, ?, ?)", row)


def last_position(old: sqlite3.Connection, highest: int) -> int:
    """Return the last position that was ever used; SQLite and the counters each know it, and one may be damaged."""
    known = [number for number in (
        _number(old, "SELECT seq FROM sqlite_sequence WHERE name = 'readings'"),
        _number(old, "SELECT value FROM counters WHERE name = 'taken'"),
    ) if number and number >= highest]  # fmt: skip
    return min(known, default=highest)


FORMER_COLUMNS = "seq, thing, taken, payload"  # before release 2.0
COLUMNS = f"{FORMER_COLUMNS}, payload_digest, row_digest"
INSERT = f"INSERT OR IGNORE INTO readings ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608 - a constant


def stored(row: Row) -> tuple[int, str, int, str, int, int]:
    """Return a row as table readings holds it, with its digests."""
    return (*row, row.payload_digest, row.row_digest)


def _all(database: sqlite3.Connection, last: int) -> Iterator[tuple[Any, ...]]:
    highest = last or last_position(database, _number(database, "SELECT max(seq) FROM readings NOT INDEXED"))
    columns = FORMER_COLUMNS
    with suppress(*FAILURES):
        columns = COLUMNS if database.execute(f"SELECT {COLUMNS} FROM readings LIMIT 0") else columns  # noqa: S608 - a constant
    seen: set[int] = set()
    for order in ("ASC", "DESC"):
        with suppress(*FAILURES):
            walk = f"SELECT {columns} FROM readings NOT INDEXED ORDER BY seq {order}"  # noqa: S608 - our words
            yield from _noted(database.execute(walk), seen)
            if len(seen) == expected(database):
                return
    # A damaged page can hide others from a query of many, without an error. Each position is looked up by itself, since
    # a range also looks at the next reading, which may be the damaged one.
    query = f"SELECT {columns} FROM readings NOT INDEXED WHERE seq = ?"  # noqa: S608 - our words
    if not highest:  # everything that knows it is damaged: as many as the file has room for
        highest = max(seen, default=0) + _number(database, "PRAGMA page_count") * PAGE_ROWS
    for position in range(max(1, highest - LOOKED_UP), highest + 1):
        if position not in seen:
            with suppress(*FAILURES):
                yield from _noted(database.execute(query, (position,)), seen)
    first = max(1, min(seen, default=1) - PAGE_ROWS * NEAR)  # what was before has been acknowledged
    if highest - first - len(seen) < WALKED_TO:
        missing = [position for position in range(first, highest + 1) if position not in seen]
        yield from _neighbours(database, columns, missing, seen)


def _noted(rows: Iterable[tuple[Any, ...]], seen: set[int]) -> Iterator[tuple[Any, ...]]:
    """Yield rows, and note the positions of whole ones: that of another may be a neighbour's."""
    for row in rows:
        if _is_whole(row):
            seen.add(row[0])
        yield row


def _neighbours(
    database: sqlite3.Connection, columns: str, missing: list[int], seen: set[int]
) -> Iterator[tuple[Any, ...]]:
    """Walk to each position from those beside it: to look it up, SQLite may meet a damaged cell that a walk does not.

    A limit ends the walk at the position, since Python's cursor steps ahead and loses the row before an error.
    """
    for sign, order, step in ((">=", "ASC", -1), ("<=", "DESC", 1)):
        walk = f"SELECT {columns} FROM readings NOT INDEXED WHERE seq {sign} ? ORDER BY seq {order} LIMIT ?"  # noqa: S608 - our words
        for position in missing:
            for away in range(NEAR):
                if position in seen:
                    break
                with suppress(*FAILURES):
                    found = database.execute(walk, (position + step * away, away + 1))
                    yield from _noted((row for row in found if row[0] not in seen), seen)


def expected(database: sqlite3.Connection) -> int | None:
    """Return how many readings wait by the counters; None if they cannot be read."""
    found = counters(database)
    taken = found.pop("taken", None)
    return None if taken is None else taken - sum(found.get(name, 0) for name in GONE)


def _number(database: sqlite3.Connection, query: str) -> int:
    with suppress(*FAILURES):
        row = database.execute(query).fetchone()
        if row and isinstance(row[0], int) and 0 < row[0] < POSITIONS:
            return row[0]
    return 0


def _is_intact(row: tuple[Any, ...]) -> bool:
    """Return whether the payload is as it was written: one of the two digests holds. Earlier releases had none.

    A digest that is off by one bit is damaged itself: with a damaged payload, CRC-32 would be off by several.
    """
    seq, thing, taken, payload, *digests = row
    if not (isinstance(seq, int) and 0 < seq < POSITIONS and isinstance(payload, str)):
        return False
    written = Row(seq, thing, taken, payload)
    try:
        if digests:
            pairs = zip((written.payload_digest, written.row_digest), digests, strict=True)
            return any(isinstance(found, int) and (own ^ found).bit_count() <= 1 for own, found in pairs)
        return isinstance(json.loads(payload), dict)
    except (ValueError, RecursionError):
        return False


def _is_whole(row: tuple[Any, ...]) -> bool:
    """Return whether all columns are as they were written. Earlier releases had no digest, and are believed."""
    with suppress(UnicodeEncodeError):
        return len(row) == len(Row._fields) or Row(*row[:4]).row_digest == row[5]
    return False


def _repaired(row: Row, things: Counter[str]) -> Row:
    """Derive thing and time from the payload, of which at least one is damaged."""
    members = json.loads(row.payload)
    device, taken = str(members.get("deviceId", "")), row.taken
    with suppress(KeyError, TypeError, ValueError):
        taken = int(datetime.fromisoformat(members["ts"]).timestamp() * 1000)
    usual = things.most_common(1)[0][0] if things else device
    thing = next((one for one in (row.thing, device) if one in things), usual)
    return row._replace(thing=thing, taken=taken)


def counters(database: sqlite3.Connection) -> dict[str, int]:
    """Return the counters; none if they cannot be read."""
    with suppress(*FAILURES):
        found = database.execute("SELECT replace(name, 'set_aside', 'quarantined'), value FROM counters").fetchall()
        return {name: value for name, value in found if isinstance(value, int) and 0 <= value < POSITIONS}
    return {}
