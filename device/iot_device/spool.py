"""Readings on their way, on disk: one that was taken is kept until the broker has acknowledged it.

SQLite in WAL mode with synchronous=FULL: a commit is on the disk before `take` returns, so that a power cut loses
nothing that was taken (https://www.sqlite.org/pragma.html#pragma_synchronous). What was acknowledged is deleted along
with the next commit; a crash before that only has it sent again, under the same message id.
"""

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from iot_device import torn
from iot_device.reading import Reading

log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS readings (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, thing TEXT NOT NULL, taken INTEGER NOT NULL, payload TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS readings_of_thing ON readings (thing);
CREATE TABLE IF NOT EXISTS aside (
    seq INTEGER PRIMARY KEY, thing TEXT NOT NULL, taken INTEGER NOT NULL, payload TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
GONE = ("acknowledged", "dropped_count", "dropped_age", "dropped_torn", "set_aside")
COUNTERS = ("taken", *GONE, "torn")
PLAUSIBLE_MS = 1_735_689_600_000  # 2025: a device without a clock starts in 1970, which says nothing about age
DROP_SHARE = 100  # a full spool makes room for a hundredth of it at once, so that not every reading costs a line
ASIDE_LIMIT = 1000
DAY_MS = 86_400_000


class SpoolError(OSError):
    """The spool can't be used; the message names the fix."""


class Waiting(NamedTuple):
    """A reading that waits, by its place in the queue."""

    seq: int
    payload: str


class Spool:
    """One file for any number of things. Safe to use from several threads; another process may read and add.

    `limit` is how many readings may wait, `days` how long; the oldest are dropped beyond that, counted and logged.
    Where a failing disk has torn the file, the `owner`, whoever publishes from it, puts it by and goes on with a new
    one: what was being done fails once with sqlite3.Error, and every reading that can be read keeps its place.
    """

    def __init__(self, path: Path, limit: int = 500_000, days: float = 30.0, *, owner: bool = True) -> None:
        """Raise SpoolError where the file can't be used."""
        self.path, self.limit, self.days = path, limit, days
        self.last = 0
        """Place of the latest reading."""
        self.waiting = 0
        """How many readings wait, those included that were acknowledged and not deleted yet."""
        self.settled: set[int] = set()
        """Places that were acknowledged and not deleted yet."""
        self._owner = owner
        self._lock = threading.RLock()
        self._version = 0
        try:
            self._database = self._open()
        except (sqlite3.Error, OSError) as error:
            raise SpoolError(f"the spool {path} cannot be used ({error}): {torn.fix(error)}") from error

    def _open(self) -> sqlite3.Connection:
        database = None
        try:
            database = self._connect()
            self._look(database)
        except sqlite3.Error as error:
            if database:
                database.close()
            if not (self._owner and torn.is_torn(error)):
                raise
            return self._begin_anew(error)
        return database

    def _begin_anew(self, error: sqlite3.Error) -> sqlite3.Connection:
        """Put the torn file by, and return a new one with what can be read. Readings to come matter most."""
        spoilt = torn.put_by(self.path)
        try:
            database = self._connect(self.last)
        except sqlite3.Error:
            torn.put_back(spoilt, self.path)
            raise
        log.error("the spool was torn (%s): a new one is begun, the old one is %s. Is its disk failing?", error, spoilt)
        try:
            self._save(spoilt, database)
        except sqlite3.Error as other:
            log.error("no reading could be saved from it (%s): %s", other, torn.fix(other))  # noqa: TRY400 - no traceback: the fault is the disk's
        self._look(database)
        return database

    def _save(self, spoilt: Path, database: sqlite3.Connection) -> None:
        with contextlib.closing(sqlite3.connect(spoilt)) as old, database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?)", torn.readings(old))
            [saved] = database.execute("SELECT count(*) FROM readings").fetchone()
            count = dict.fromkeys(COUNTERS, 0) | torn.counters(old)
            lost = max(0, count["taken"] - saved - sum(count[name] for name in GONE))
            count["dropped_torn"] += lost
            count["taken"] = saved + sum(count[name] for name in GONE)
            count["torn"] += 1
            database.executemany(
                "UPDATE counters SET value = ? WHERE name = ?", [(count[name], name) for name in COUNTERS]
            )
        log.error("saved %d readings from it; dropped %d, which can't be read", saved, lost)

    def _connect(self, last: int = 0) -> sqlite3.Connection:
        """Open the file, or make it, with places after `last`: none is used twice."""
        fresh = not self.path.exists()
        database = sqlite3.connect(self.path, timeout=10, isolation_level=None, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.execute("PRAGMA cache_size = -1024")
            database.execute(f"PRAGMA journal_size_limit = {4 << 20}")
            database.executescript(SCHEMA)
            database.executemany("INSERT OR IGNORE INTO counters VALUES (?, 0)", [(name,) for name in COUNTERS])
            if last:
                database.execute("INSERT INTO sqlite_sequence VALUES ('readings', ?)", (last,))
        except sqlite3.Error:
            database.close()
            raise
        if fresh:
            folder = os.open(self.path.parent, os.O_RDONLY)
            os.fsync(folder)  # else the file itself could be gone after a power cut
            os.close(folder)
        return database

    def refresh(self) -> bool:
        """Look whether another process has added readings. Returns whether there is something new."""
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
        self.take_rows([(thing, reading.taken, reading.payload().decode()) for reading in readings])

    def take_rows(self, rows: Sequence[tuple[str, int, str]]) -> None:
        """Store rows of (thing, time taken in ms, payload), in one commit. Raises sqlite3.Error."""
        try:
            self._store(rows)
        except sqlite3.Error as error:
            if not (self._owner and torn.is_torn(error)):
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
        """Return a thing's readings between two places (without the first, with the last), oldest first.

        None is returned only where none waits: a page of which all were acknowledged is turned over here, under the
        lock, since whoever looks at `settled` later may find it emptied by a commit.
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
        """Note that the broker has these; the next commit deletes them."""
        with self._lock:
            self.settled.update(seqs)

    def settle(self) -> None:
        """Delete what was acknowledged. Raises sqlite3.Error."""
        with self._lock:
            if self.settled:
                with self._writing():
                    self._delete_settled()

    def set_aside(self, seq: int, reason: str) -> None:
        """Keep a reading that will never be taken apart from the others. Raises sqlite3.Error."""
        with self._writing():
            self._database.execute(
                "INSERT OR IGNORE INTO aside SELECT seq, thing, taken, payload, ? FROM readings WHERE seq = ?",
                (reason, seq),
            )
            gone = self._database.execute("DELETE FROM readings WHERE seq = ?", (seq,)).rowcount
            self.waiting -= gone
            self._count("set_aside", gone)
            self._database.execute(
                "DELETE FROM aside WHERE seq <= (SELECT max(seq) FROM aside) AND seq NOT IN"
                " (SELECT seq FROM aside ORDER BY seq DESC LIMIT ?)",
                (ASIDE_LIMIT,),
            )

    def expire(self, now: int) -> int:
        """Drop what is older than the limit; `now` in ms. Returns how many that were. Raises sqlite3.Error."""
        oldest = now - int(self.days * DAY_MS)
        with self._writing():
            gone = self._database.execute(
                "DELETE FROM readings WHERE taken < ? AND taken >= ?", (oldest, PLAUSIBLE_MS)
            ).rowcount
            self._dropped("dropped_age", gone, f"older than {self.days:g} days (spool_max_days)")
        return gone

    def oldest(self) -> int | None:
        """Return when the first reading that waits was taken, in ms; None where none waits."""
        with self._guarded():
            row = self._database.execute("SELECT taken FROM readings ORDER BY seq LIMIT 1").fetchone()
            return row[0] if row else None

    def counters(self) -> dict[str, int]:
        """Return the totals since the spool began: taken = waiting + acknowledged + dropped_* + set_aside.

        And, in `torn`, how often a new file was begun in place of a torn one.
        """
        with self._guarded():
            return dict(self._database.execute("SELECT name, value FROM counters").fetchall())

    def waits(self, seq: int) -> bool:
        """Whether a reading waits still."""
        with self._guarded():
            return self._database.execute("SELECT 1 FROM readings WHERE seq = ?", (seq,)).fetchone() is not None

    def why_aside(self, seq: int) -> str | None:
        """Return why a reading was set aside; None where it was not."""
        with self._guarded():
            row = self._database.execute("SELECT reason FROM aside WHERE seq = ?", (seq,)).fetchone()
            return row[0] if row else None

    def close(self) -> None:
        """Delete what was acknowledged, and close."""
        try:
            self.settle()
        except sqlite3.Error as error:
            log.warning("what was acknowledged last will be sent once more, under the same ids: %s", error)
        with self._lock:
            self._database.close()

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                if self._owner and torn.is_torn(error):
                    self._change_over(error)
                raise

    def _change_over(self, error: sqlite3.Error) -> None:
        old = self._database
        try:
            self._database = self._begin_anew(error)
        except OSError as other:
            raise sqlite3.OperationalError(f"it is torn, and cannot be put by: {other}") from error
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
            log.error("dropped %d readings, the oldest that wait: %s", number, reason)

    def _count(self, name: str, number: int) -> None:
        self._database.execute("UPDATE counters SET value = value + ? WHERE name = ?", (number, name))
