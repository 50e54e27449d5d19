"""Readings on disk: each is kept from when it was taken until the broker has acknowledged it.

SQLite in WAL mode with synchronous=FULL: a commit is on the disk before `take` returns, so that a power cut loses no
reading (https://www.sqlite.org/pragma.html#pragma_synchronous). Acknowledged readings are deleted along with the next
commit; after a crash before that they are sent again, under the same message ids.
"""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from iot_device import damage
from iot_device.reading import Reading
from iot_device.settings import Settings, SettingsError

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS readings (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, thing TEXT NOT NULL, taken INTEGER NOT NULL, payload TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS readings_of_thing ON readings (thing);
CREATE TABLE IF NOT EXISTS quarantine (
    seq INTEGER PRIMARY KEY, thing TEXT NOT NULL, taken INTEGER NOT NULL, payload TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
GONE = ("acknowledged", "dropped_count", "dropped_age", "dropped_torn", "quarantined")
COUNTERS = ("taken", *GONE, "torn")
PLAUSIBLE_MS = 1_735_689_600_000  # 2025: earlier times come from a clock that was never set, and give no age
DROP_SHARE = 100  # a full spool drops a hundredth at once, so that not every further reading logs a line
QUARANTINE_LIMIT = 1000
DAY_MS = 86_400_000


class SpoolError(OSError):
    """The spool cannot be used; the message names the fix."""


class Waiting(NamedTuple):
    """A reading that waits, by its position in the queue."""

    seq: int
    payload: str


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
            database = self._connect()
            self._look(database)
        except sqlite3.Error as error:
            if database:
                database.close()
            if not (self._owner and damage.is_damage(error)):
                raise
            return self._start_anew(error)
        return database

    def _start_anew(self, error: sqlite3.Error) -> sqlite3.Connection:
        """Move the damaged file away, and return a new one with what can be read of it."""
        damaged = damage.move_away(self.path)
        try:
            database = self._connect(self.last)
        except sqlite3.Error:
            damage.move_back(damaged, self.path)
            raise
        log.error("the spool is damaged (%s): moved it to %s and made a new one; the disk may fail", error, damaged)
        try:
            self._save(damaged, database)
        except sqlite3.Error as other:
            log.error("saved no reading of it (%s): %s", other, damage.fix(other))  # noqa: TRY400 - no traceback: the disk failed
        self._look(database)
        return database

    def _save(self, damaged: Path, database: sqlite3.Connection) -> None:
        with contextlib.closing(sqlite3.connect(damaged)) as old, database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?)", damage.readings(old))
            [saved] = database.execute("SELECT count(*) FROM readings").fetchone()
            count = dict.fromkeys(COUNTERS, 0) | damage.counters(old)
            lost = max(0, count["taken"] - saved - sum(count[name] for name in GONE))
            count["dropped_torn"] += lost
            count["taken"] = saved + sum(count[name] for name in GONE)
            count["torn"] += 1
            database.executemany(
                "UPDATE counters SET value = ? WHERE name = ?", [(count[name], name) for name in COUNTERS]
            )
        log.error("saved %d readings of it; dropped %d that cannot be read", saved, lost)

    def _connect(self, last: int = 0) -> sqlite3.Connection:
        """Open the file, or make it with positions after `last`: none is used twice."""
        fresh = not self.path.exists()
        database = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA cache_size = -1024")
            database.execute(f"PRAGMA journal_size_limit = {4 << 20}")
            self._migrate(database)
            database.executescript(SCHEMA)
            database.executemany("INSERT OR IGNORE INTO counters VALUES (?, 0)", [(name,) for name in COUNTERS])
            if last:
                database.execute("INSERT INTO sqlite_sequence VALUES ('readings', ?)", (last,))
        except sqlite3.Error:
            database.close()
            raise
        if fresh:
            folder = os.open(self.path.parent, os.O_RDONLY)
            os.fsync(folder)  # else a power cut could remove the file itself
            os.close(folder)
        return database

    def _migrate(self, database: sqlite3.Connection) -> None:
        """Rename what releases before 2.0 called otherwise."""
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'aside'").fetchone():
            database.executescript(
                "BEGIN IMMEDIATE; ALTER TABLE aside RENAME TO quarantine;"
                " UPDATE counters SET name = 'quarantined' WHERE name = 'set_aside'; COMMIT;"
            )

    def refresh(self) -> bool:
        """Look for readings that another process has added. Returns whether there are any."""
        with self._guarded():
            [version] = self._database.execute("PRAGMA data_version").fetchone()
            if version == self._version:
                return False
            before = self.last
            self._look(self._database)
            return self.last > before

    def _look(self, database: sqlite3.Connection) -> None:
        [self._version] = database.execute("PRAGMA data_version").fetchone()
        [self.waiting] = database.execute("SELECT count(*) FROM readings").fetchone()
        row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'readings'").fetchone()
        self.last = row[0] if row else 0

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
            self._database.executemany("INSERT INTO readings (thing, taken, payload) VALUES (?, ?, ?)", rows)
            self._count("taken", len(rows))
            self._delete_settled()
            [self.last] = self._database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'readings'").fetchone()
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
                rows = self._database.execute(
                    "SELECT seq, payload FROM readings WHERE thing = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
                    (thing, after, upto, limit),
                ).fetchall()
                waiting = [Waiting(*row) for row in rows if row[0] not in self.settled]
                if waiting or not rows:
                    return waiting
                after = rows[-1][0]

    def acknowledge(self, seqs: Iterable[int]) -> None:
        """Note that the broker has acknowledged these; the next commit deletes them."""
        with self._lock:
            self.settled.update(seqs)

    def settle(self) -> None:
        """Delete acknowledged readings. Raises sqlite3.Error."""
        with self._lock:
            if self.settled:
                with self._writing():
                    self._delete_settled()

    def quarantine(self, seq: int, reason: str) -> None:
        """Keep a reading that the broker will never accept apart from the others. Raises sqlite3.Error."""
        with self._writing():
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

    def expire(self, now: int) -> int:
        """Drop readings older than the limit; `now` in ms. Returns their number. Raises sqlite3.Error."""
        oldest = now - int(self.days * DAY_MS)
        with self._writing():
            gone = self._database.execute(
                "DELETE FROM readings WHERE taken < ? AND taken >= ?", (oldest, PLAUSIBLE_MS)
            ).rowcount
            self._dropped("dropped_age", gone, f"older than {self.days:g} days (spool_max_days)")
        return gone

    def oldest(self) -> int | None:
        """Return when the first waiting reading was taken, in ms; None if none waits."""
        with self._guarded():
            row = self._database.execute("SELECT taken FROM readings ORDER BY seq LIMIT 1").fetchone()
            return row[0] if row else None

    def counters(self) -> dict[str, int]:
        """Return the totals since the spool was made: taken = waiting + acknowledged + dropped_* + quarantined.

        `torn` counts the damaged files that were replaced.
        """
        with self._guarded():
            return dict(self._database.execute("SELECT name, value FROM counters").fetchall())

    def waits(self, seq: int) -> bool:
        """Return whether a reading still waits."""
        with self._guarded():
            return self._database.execute("SELECT 1 FROM readings WHERE seq = ?", (seq,)).fetchone() is not None

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
        with self._lock:
            self._database.close()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._lock:
            try:
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
            waiting, settled = self.waiting, set(self.settled)
            try:
                with self._database:
                    self._database.execute("BEGIN IMMEDIATE")
                    yield
            except sqlite3.Error:
                self.waiting, self.settled = waiting, settled
                raise

    def _delete_settled(self) -> None:
        gone = self._database.executemany(
            "DELETE FROM readings WHERE seq = ?", [(seq,) for seq in self.settled]
        ).rowcount
        if self.settled:
            self._count("acknowledged", gone)
            self.waiting -= gone
            self.settled.clear()

    def _drop_oldest(self, number: int) -> None:
        gone = self._database.execute(
            "DELETE FROM readings WHERE seq IN (SELECT seq FROM readings ORDER BY seq LIMIT ?)", (number,)
        ).rowcount
        self._dropped("dropped_count", gone, f"more than {self.limit} wait (spool_max_readings)")

    def _dropped(self, counter: str, number: int, reason: str) -> None:
        if number:
            self.waiting -= number
            self._count(counter, number)
            log.error("dropped %d readings, the oldest of those that wait: %s", number, reason)

    def _count(self, name: str, number: int) -> None:
        self._database.execute("UPDATE counters SET value = value + ? WHERE name = ?", (number, name))


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
