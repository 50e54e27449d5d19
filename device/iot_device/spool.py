"""Readings on disk: each is kept from when it was taken until the broker has acknowledged it.

SQLite in WAL mode with synchronous=FULL: a commit is on the disk before `take` returns, so that a power cut loses no
reading (https://www.sqlite.org/pragma.html#pragma_synchronous). Acknowledged readings are deleted along with the next
commit; after a crash before that they are sent again, under the same message ids.
"""

import contextlib
import logging
import os
import shutil
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from iot_device import damage, wal
from iot_device.damage import GONE, DamageError, Row
from iot_device.reading import Reading, timestamp
from iot_device.settings import Settings, SettingsError
from iot_device.state import is_running

log = logging.getLogger(__name__)

SCHEMA = {
    # The digests come first: whatever damage leaves of the payload, they can be read.
    "readings": "CREATE TABLE readings (seq INTEGER PRIMARY KEY AUTOINCREMENT, payload_digest INTEGER NOT NULL,"
    " row_digest INTEGER NOT NULL, thing TEXT NOT NULL, taken INTEGER NOT NULL, payload TEXT NOT NULL)",
    "quarantine": "CREATE TABLE quarantine (seq INTEGER PRIMARY KEY, thing TEXT NOT NULL, taken INTEGER NOT NULL,"
    " payload TEXT NOT NULL, reason TEXT NOT NULL)",
    "counters": "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
}
FORMER = """CREATE TABLE readings (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, thing TEXT NOT NULL, taken INTEGER NOT NULL, payload TEXT NOT NULL)"""
DROPPED_UPTO = "dropped_upto"  # the highest position that was dropped, for whoever added a reading and waits for it
COUNTERS = ("taken", *GONE, "torn", DROPPED_UPTO)
ESTIMATED = "estimated"  # beside those, 1 once damage has left the totals to be guessed
PLAUSIBLE_MS = 1_735_689_600_000  # 2025: earlier times come from a clock that was never set, and give no age
DROP_SHARE = 100  # a full spool drops a hundredth at once, so that not every further reading logs a line
QUARANTINE_LIMIT = 1000
HELD_LIMIT = 10_000  # readings in memory, about 4 MB
SHIFT_PAGE = 1000
DAY_MS = 86_400_000


class SpoolError(OSError):
    """The spool cannot be used; the message names the fix."""


class _FormerSchemaError(DamageError):
    """The file was made by a release before 2.0."""


class _UnreadLogError(DamageError):
    """SQLite would not read all of the log."""


class Waiting(NamedTuple):
    """A reading that waits, by its position in the queue."""

    seq: int
    payload: str


class Shift(NamedTuple):
    """A correction of the clock, for the readings from one position up to another (None for no end)."""

    first: int
    end: int | None
    milliseconds: int


def _verified(row: tuple[Any, ...]) -> Row:
    """Return a row of table readings. Raises DamageError if it is not as it was written."""
    seq, thing, taken, payload, payload_digest, row_digest = row
    written = Row(seq, thing, taken, payload)
    if (written.payload_digest, written.row_digest) != (payload_digest, row_digest):
        raise DamageError(f"reading {seq} is not as it was written")
    return written


class Quarantined(NamedTuple):
    """A reading that the broker refused for good, and why; `taken` is in ms."""

    seq: int
    thing: str
    taken: int
    payload: str
    reason: str


class Spool:
    """One file for any number of things. Safe to use from several threads; another process may read and add.

    `limit` is how many readings may wait, `days` how long; beyond that the oldest are dropped, counted and logged.
    Where the disk has damaged the file, its `owner`, the process that publishes from it, moves it away and starts a new
    one: the operation fails once with sqlite3.Error, and every reading that can still be read keeps its position.
    """

    def __init__(self, path: Path, limit: int = 500_000, days: float = 30.0, *, owner: bool = True) -> None:
        """Raise SpoolError if the file cannot be used."""
        self.path, self.limit, self.days = path, limit, days
        self.last = 0
        """Position of the latest reading."""
        self.waiting = 0
        """How many readings wait, including those acknowledged and not deleted yet."""
        self.settled: set[int] = set()
        """Positions that were acknowledged and not deleted yet."""
        self._held: dict[int, Row] = {}  # by position
        self._owed: Counter[str] = Counter()  # counted while the disk took nothing
        self.on_delete: Callable[[], None] = lambda: None
        """Called before acknowledged readings are deleted; they stay where it raises OSError."""
        self._owner = owner
        self._lock = threading.RLock()
        self._version = 0
        try:
            self._database = self._open()
        except (sqlite3.Error, OSError) as error:
            raise SpoolError(f"the spool {path} cannot be used ({error}): {damage.fix(error)}") from error

    def _open(self) -> sqlite3.Connection:
        database = None
        try:
            with damage.readable_errors():
                if self._owner:
                    self._end_replacement()
                elif damage.is_replaced(self.path):
                    raise DamageError("the readings of a damaged one are not saved yet")
                if self._owner or not is_running(self.path.parent):
                    self._check_log()
                database = self._connect()
                with database:
                    database.execute("BEGIN IMMEDIATE")
                    _make_tables(database)
                if self._owner:
                    self._check(database)
                self._look(database)
        except sqlite3.Error as error:
            if database:
                database.close()
            if not (self._owner and damage.is_damage_at_start(error)):
                raise
            return self._start_anew(error)
        return database

    def _check_log(self) -> None:
        """Look, before SQLite does, for a log that it would delete without reading all. Raises DamageError."""
        if wal.is_log_alone(self.path):
            raise _UnreadLogError(f"{self.path.name} is missing or empty, but its write-ahead log exists")
        if wal.is_log_cut(self.path) and wal.is_log_cut(self.path):  # another process may have begun it anew meanwhile
            raise _UnreadLogError("its log is damaged before its last commit")

    def _check(self, database: sqlite3.Connection) -> None:
        """Look for damage that later operations may miss. Raises sqlite3.Error.

        It reads the whole file as it was at one moment, while other processes may add to it: 500,000 readings take a
        few seconds.
        """
        database.execute("BEGIN")
        try:
            self._check_content(database)
        finally:
            database.rollback()

    def _check_content(self, database: sqlite3.Connection) -> None:
        if damage.has_foreign_version(self.path):
            raise DamageError("its header has a version that no spool has")
        [problem] = database.execute("PRAGMA integrity_check(1)").fetchone()
        if problem != "ok":
            raise DamageError(problem)
        found = dict(database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
        if found.get("readings") == FORMER:
            raise _FormerSchemaError("its schema is of a release before 2.0")
        if any(found.get(name) != sql for name, sql in SCHEMA.items()):
            raise DamageError("its schema is not as it was written")
        count, waiting = dict(database.execute("SELECT name, value FROM counters").fetchall()), 0
        for row in database.execute(f"SELECT {damage.COLUMNS} FROM readings"):  # noqa: S608 - a constant
            _verified(row)
            waiting += 1
        if not count.keys() >= set(COUNTERS) or count["taken"] != waiting + sum(count[name] for name in GONE):
            raise DamageError("its counters do not add up")

    def _start_anew(self, error: sqlite3.Error) -> sqlite3.Connection:
        """Move the damaged file away, and return a new one with what can be read of it.

        Tables are made in the commit that saves the readings: where they are missing after a kill, it all begins again.
        """
        self._end_replacement()
        damaged = damage.move_away(self.path)
        is_upgrade = isinstance(error, _FormerSchemaError)
        database = None
        try:
            database = self._connect()
            if is_upgrade:
                self._save([damaged], database, is_upgrade=True)
            else:
                log.error("the spool is damaged (%s): saving what can be read in a new one; the disk may fail", error)
                self._salvage(damaged, database, is_log_unread=isinstance(error, _UnreadLogError))
        except (*damage.FAILURES, OSError):
            if database:
                database.close()
            damage.move_back(self.path)
            raise
        with contextlib.suppress(OSError):  # the next start tries again
            if is_upgrade:
                damage.remove(damaged)
            else:
                log.error("moved the damaged spool to %s", damage.keep(self.path))
        self._look(database)
        return database

    def _end_replacement(self) -> None:
        shutil.rmtree(wal.copies(damage.unsaved(self.path)), ignore_errors=True)
        damage.end_replacement(self.path)

    def _salvage(self, damaged: Path, database: sqlite3.Connection, is_log_unread: bool) -> None:
        try:
            if is_log_unread:
                with contextlib.suppress(*damage.FAILURES, OSError), wal.versions(damaged) as versions:
                    self._salvage_from(versions, database)
                    return
                wal.apply(damaged)  # such as where the disk has no room for copies
            self._salvage_from([damaged], database)
        except (*damage.FAILURES, OSError) as other:
            log.error("saved no reading of it (%s): %s", other, damage.fix(other))  # noqa: TRY400 - no traceback: the disk failed
            with database:
                database.execute("BEGIN IMMEDIATE")
                _make_tables(database)
                # so that no position is used twice
                database.execute("INSERT INTO sqlite_sequence VALUES ('readings', ?)", (self.last,))
                database.execute("UPDATE counters SET value = 1 WHERE name = 'torn'")
                database.execute("INSERT INTO counters VALUES (?, 1)", (ESTIMATED,))

    def _salvage_from(self, versions: Sequence[Path], database: sqlite3.Connection) -> None:
        for damaged in versions:
            damage.repair_header(damaged)
            with contextlib.suppress(*damage.FAILURES):
                damage.repair_schema(damaged, SCHEMA)
        saved, lost = self._save(versions, database)
        log.error("saved %d readings of it; dropped %d that cannot be read", saved, lost)

    def _save(
        self, versions: Sequence[Path], database: sqlite3.Connection, is_upgrade: bool = False
    ) -> tuple[int, int]:
        """Copy readings and counters to a new file; from further versions only readings, if the first one lacks some.

        Those may include acknowledged ones, which are then sent once more, under the same message ids. Returns how many
        readings were saved and lost.
        """
        with contextlib.ExitStack() as stack, database:
            olds = [stack.enter_context(contextlib.closing(damage.opened(one))) for one in versions]
            old = olds[0]
            database.execute("BEGIN IMMEDIATE")
            _make_tables(database)
            for one in olds:
                [copied] = database.execute("SELECT count(*) FROM readings").fetchone()
                if one is old or copied != damage.expected(old):
                    damage.copy_readings(one, database, self.last)
            damage.copy_quarantine(old, database)
            saved, highest = database.execute("SELECT count(*), coalesce(max(seq), 0) FROM readings").fetchone()
            last = max(highest, self.last or max(damage.last_position(one, highest) for one in olds))
            found = next(filter(None, map(damage.counters, olds)), {})
            count = {name: found.get(name, 0) for name in COUNTERS} | {"taken": last}
            excess = saved + sum(count[name] for name in GONE) - last
            if excess > 0:  # a damaged counter
                largest = max(GONE, key=count.__getitem__)
                count[largest] = max(0, count[largest] - excess)
            elif "acknowledged" not in found:  # what is missing before the oldest was, what is missing after it is lost
                [oldest] = database.execute("SELECT coalesce(min(seq), 1) FROM readings").fetchone()
                count["acknowledged"] = max(0, oldest - 1 - sum(count[name] for name in GONE))
            lost = max(0, last - saved - sum(count[name] for name in GONE))
            count["dropped_torn"] += lost
            count["torn"] += not is_upgrade
            rows = [(count[name], name) for name in COUNTERS]
            database.executemany("UPDATE counters SET value = ? WHERE name = ?", rows)
            if found.get(ESTIMATED) or not (is_upgrade or damage.counters(old).keys() >= set(COUNTERS)):
                log.error("its counters cannot be read: from now on the totals are estimates")
                database.execute("INSERT INTO counters VALUES (?, 1)", (ESTIMATED,))
            database.execute("DELETE FROM sqlite_sequence")
            database.execute("INSERT INTO sqlite_sequence VALUES ('readings', ?)", (last,))
        return saved, lost

    def _connect(self) -> sqlite3.Connection:
        """Open the file, or make it without tables."""
        fresh = not self.path.exists()
        if fresh and os.geteuid() == 0:  # the service must be able to open it later, with the log beside it
            self.path.touch()
            folder = self.path.parent.stat()
            os.chown(self.path, folder.st_uid, folder.st_gid)
        database = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA cache_size = -1024")
            database.execute(f"PRAGMA journal_size_limit = {4 << 20}")
        except damage.FAILURES:
            database.close()
            raise
        if fresh:
            sync_folder(self.path)
        return database

    def refresh(self) -> bool:
        """Look for readings that another process has added or requeued. Returns whether there are any."""
        with self._guarded():
            [version] = self._database.execute("PRAGMA data_version").fetchone()
            if version == self._version:
                return False
            before, waited = self.last, self.waiting
            self._look(self._database)
            return self.last > before or self.waiting > waited

    def _look(self, database: sqlite3.Connection) -> None:
        [self._version] = database.execute("PRAGMA data_version").fetchone()
        [waiting] = database.execute("SELECT count(*) FROM readings").fetchone()
        self.waiting = waiting + len(self._held)
        row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'readings'").fetchone()
        self.last = max(self.last, row[0] if row else 0)

    def take(self, thing: str, readings: Sequence[Reading]) -> None:
        """Store readings that `thing` publishes, in one commit; once this returns, a power cut loses none.

        Raises sqlite3.Error where the disk is full or gone.
        """
        self.take_rows([(thing, reading.taken, reading.payload()) for reading in readings])

    def take_rows(self, rows: Sequence[tuple[str, int, str]]) -> None:
        """Store rows of (thing, time taken in ms, payload), in one commit. Raises sqlite3.Error."""
        try:
            self._store(rows)
        except sqlite3.Error as error:
            if not (self._owner and damage.is_damage(error)):
                raise
            self._store(rows)  # in the new file

    def _store(self, rows: Sequence[tuple[str, int, str]]) -> None:
        with self._writing():
            last = max(self.last, self._last_stored())
            self._insert([Row(last + number, *row) for number, row in enumerate(rows, 1)])
            self._delete_settled()
            self.last = last + len(rows)
            self.waiting += len(rows)
            excess = self.waiting - self.limit
            if excess > 0:
                self._drop_oldest(excess + self.limit // DROP_SHARE)

    def fetch(self, thing: str, after: int, upto: int, limit: int) -> list[Waiting]:
        """Return a thing's readings between two positions (without the first, with the last), oldest first.

        The list is empty only if none waits: a page of acknowledged readings is skipped here, under the lock, since a
        caller that looks at `settled` later may find it emptied by a commit.
        """
        with self._guarded():
            while True:
                found = self._database.execute(
                    f"SELECT {damage.COLUMNS} FROM readings WHERE thing = ? AND seq > ? AND seq <= ?"  # noqa: S608 - a constant
                    " ORDER BY seq LIMIT ?",
                    (thing, after, upto, limit),
                )
                rows = [_verified(row) for row in found]
                rows += [row for row in self._held.values() if row.thing == thing and after < row.seq <= upto]
                rows = sorted(rows)[:limit]
                waiting = [Waiting(row.seq, row.payload) for row in rows if row.seq not in self.settled]
                if waiting or not rows:
                    return waiting
                after = rows[-1].seq

    def acknowledge(self, seqs: Iterable[int]) -> None:
        """Note that the broker has acknowledged these; the next commit deletes them."""
        with self._lock:
            for seq in seqs:
                if self._held.pop(seq, None):
                    self.waiting -= 1
                    self._owed += Counter(taken=1, acknowledged=1)
                else:
                    self.settled.add(seq)

    def hold(self, thing: str, readings: Sequence[Reading]) -> bool:
        """Keep readings in memory, while the disk takes none; they can be sent, and are stored once it does.

        Returns whether there was room.
        """
        with self._lock:
            if len(self._held) + len(readings) > HELD_LIMIT:
                return False
            for reading in readings:
                self.last += 1
                self._held[self.last] = Row(self.last, thing, reading.taken, reading.payload())
            self.waiting += len(readings)
            return True

    def shift(self, shifts: Sequence[Shift]) -> int:
        """Correct the time of readings that were never sent, all in one commit. Returns their number.

        Raises sqlite3.Error.
        """
        shifted = 0
        with self._writing():
            self._insert([])
            for first, end, milliseconds in shifts:
                after = first - 1
                while rows := self._database.execute(
                    f"SELECT {damage.COLUMNS} FROM readings WHERE seq > ? AND seq < ? ORDER BY seq LIMIT ?",  # noqa: S608 - a constant
                    (after, end or self.last + 1, SHIFT_PAGE),
                ).fetchall():
                    self._shift([_verified(row) for row in rows], milliseconds)
                    after, shifted = rows[-1][0], shifted + len(rows)
        return shifted

    def _shift(self, rows: Sequence[Row], milliseconds: int) -> None:
        corrected = []
        for row in rows:
            taken = row.taken + milliseconds
            payload = row.payload.replace(f'"ts":"{timestamp(row.taken)}"', f'"ts":"{timestamp(taken)}"')
            corrected.append(damage.stored(row._replace(taken=taken, payload=payload)))
        self._database.executemany(damage.INSERT.replace("IGNORE", "REPLACE"), corrected)

    def settle(self) -> None:
        """Delete acknowledged readings. Raises sqlite3.Error."""
        with self._lock:
            if self.settled or self._held or self._owed:
                with self._writing():
                    self._insert([])
                    self._delete_settled()

    def quarantine(self, seq: int, reason: str) -> None:
        """Keep a reading that the broker will never accept apart from the others. Raises sqlite3.Error."""
        with self._writing():
            self._insert([])
            self._database.execute(
                "INSERT OR IGNORE INTO quarantine SELECT seq, thing, taken, payload, ? FROM readings WHERE seq = ?",
                (reason, seq),
            )
            gone = self._database.execute("DELETE FROM readings WHERE seq = ?", (seq,)).rowcount
            self.waiting -= gone
            self._count("quarantined", gone)
            self._database.execute(
                "DELETE FROM quarantine WHERE seq NOT IN (SELECT seq FROM quarantine ORDER BY seq DESC LIMIT ?)",
                (QUARANTINE_LIMIT,),
            )

    def quarantined(self) -> list[Quarantined]:
        """Return the quarantined readings that are kept, the oldest first."""
        with self._guarded():
            rows = self._database.execute("SELECT seq, thing, taken, payload, reason FROM quarantine ORDER BY seq")
            return [Quarantined(*row) for row in rows]

    def requeue(self, choose: Callable[[str], bool] = lambda reason: True) -> int:
        """Return quarantined readings to their positions, those whose reason is chosen. Raises sqlite3.Error.

        Returns their number.
        """
        chosen = [one for one in self.quarantined() if choose(one.reason)]
        if chosen:
            with self._writing():
                rows = [damage.stored(Row(*one[:4])) for one in chosen]
                gone = self._database.executemany(damage.INSERT, rows).rowcount
                self._database.executemany("DELETE FROM quarantine WHERE seq = ?", [(one.seq,) for one in chosen])
                self._count("quarantined", -gone)
                self.waiting += gone
        return len(chosen)

    def expire(self, now: int) -> int:
        """Drop readings older than the limit; `now` in ms. Returns their number. Raises sqlite3.Error."""
        oldest = now - int(self.days * DAY_MS)
        with self._writing():
            gone = self._drop("WHERE taken < ? AND taken >= ?", (oldest, PLAUSIBLE_MS))
            self._dropped("dropped_age", gone, f"older than {self.days:g} days (spool_max_days)")
        return gone

    def oldest(self) -> int | None:
        """Return when the first waiting reading was taken, in ms; None if none waits."""
        with self._guarded():
            row = self._database.execute("SELECT taken FROM readings ORDER BY seq LIMIT 1").fetchone()
            return row[0] if row else next((row.taken for row in self._held.values()), None)

    def counters(self) -> dict[str, int]:
        """Return the totals since the spool was made: taken = waiting + acknowledged + dropped_* + quarantined.

        `torn` counts the damaged files that were replaced; `estimated` is there once the totals are guesses.
        """
        with self._guarded():
            count = Counter(dict(self._database.execute("SELECT name, value FROM counters").fetchall()))
            count.update(self._owed)
            count["taken"] += len(self._held)
            return dict(count)

    def waits(self, seq: int) -> bool:
        """Return whether a reading still waits."""
        with self._guarded():
            found = self._database.execute("SELECT 1 FROM readings WHERE seq = ?", (seq,)).fetchone()
            return seq in self._held or found is not None

    def why_quarantined(self, seq: int) -> str | None:
        """Return why a reading was quarantined; None if it was not."""
        with self._guarded():
            row = self._database.execute("SELECT reason FROM quarantine WHERE seq = ?", (seq,)).fetchone()
            return row[0] if row else None

    def close(self) -> None:
        """Delete acknowledged readings, and close."""
        try:
            self.settle()
        except sqlite3.Error as error:
            log.warning("the last acknowledged readings will be sent once more, under the same ids: %s", error)
            if self._held:
                log.error("dropped %d readings that were only in memory", len(self._held))  # noqa: TRY400 - no traceback: the disk failed
        with self._lock:
            self._database.close()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._lock:
            try:
                with damage.readable_errors():
                    yield
            except sqlite3.Error as error:
                if self._owner and damage.is_damage(error):
                    self._replace(error)
                raise

    def _replace(self, error: sqlite3.Error) -> None:
        old = self._database
        try:
            self._database = self._start_anew(error)
        except OSError as other:
            raise sqlite3.OperationalError(f"it is damaged, and cannot be moved away: {other}") from error
        old.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self._guarded():
            waiting, settled, held, owed = self.waiting, set(self.settled), dict(self._held), Counter(self._owed)
            try:
                with self._database:
                    self._database.execute("BEGIN IMMEDIATE")
                    yield
            except sqlite3.Error:
                self.waiting, self.settled, self._held, self._owed = waiting, settled, held, owed
                raise

    def _last_stored(self) -> int:
        row = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'readings'").fetchone()
        return int(row[0]) if row else 0

    def _insert(self, rows: Sequence[Row]) -> None:
        """Insert rows, and those held in memory with what was counted meanwhile."""
        rows = [*self._held.values(), *rows]
        self._database.executemany(damage.INSERT, map(damage.stored, rows))
        self._count("taken", len(rows))
        for name, number in self._owed.items():
            self._count(name, number)
        self._held, self._owed = {}, Counter()

    def _delete_settled(self) -> None:
        try:
            self.on_delete()
        except OSError as error:  # they stay until it works
            log.warning("acknowledged readings are kept, since the ledger cannot be written: %s", error)
            return
        gone = self._database.executemany(
            "DELETE FROM readings WHERE seq = ?", [(seq,) for seq in self.settled]
        ).rowcount
        if self.settled:
            self._count("acknowledged", gone)
            self.waiting -= gone
            self.settled.clear()

    def _drop_oldest(self, number: int) -> None:
        gone = self._drop("ORDER BY seq LIMIT ?", (number,))
        self._dropped("dropped_count", gone, f"more than {self.limit} wait (spool_max_readings)")

    def _drop(self, which: str, values: tuple[int, ...]) -> int:
        chosen = f"SELECT seq FROM readings {which}"  # noqa: S608 - our own words
        self._database.execute(
            f"UPDATE counters SET value = max(value, coalesce((SELECT max(seq) FROM ({chosen})), 0)) WHERE name = ?",  # noqa: S608 - our own words
            (*values, DROPPED_UPTO),
        )
        return self._database.execute(f"DELETE FROM readings WHERE seq IN ({chosen})", values).rowcount  # noqa: S608 - our own words

    def _dropped(self, counter: str, number: int, reason: str) -> None:
        if number:
            self.waiting -= number
            self._count(counter, number)
            log.error("dropped %d readings, the oldest of those that wait: %s", number, reason)

    def _count(self, name: str, number: int) -> None:
        self._database.execute("UPDATE counters SET value = value + ? WHERE name = ?", (number, name))


def _make_tables(database: sqlite3.Connection) -> None:
    """Make the tables of a new file, in the transaction that is open."""
    if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
        for statement in SCHEMA.values():
            database.execute(statement)
        database.executemany("INSERT INTO counters VALUES (?, 0)", [(name,) for name in COUNTERS])


def sync_folder(path: Path) -> None:
    """Have a new file's name on the disk: else a power cut could remove the file itself. Raises OSError."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def state_folder(settings: Settings) -> Path:
    """Return the folder of the spool; make it if it is missing. Raises SettingsError."""
    try:
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"state_dir {settings.state_dir} cannot be made: {error.strerror}.") from error
    return settings.state_dir


def open_spool(settings: Settings, *, owner: bool) -> Spool:
    """Return the spool of a device, as the publisher that owns it or beside that. Raises SettingsError."""
    path = state_folder(settings) / "spool.db"
    try:
        return Spool(path, settings.spool_max_readings, settings.spool_max_days, owner=owner)
    except SpoolError as error:
        raise SettingsError(str(error)) from error
