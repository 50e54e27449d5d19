"""Spools on a failing disk: damage costs the readings that are damaged, and no others.

What a damaged spool still holds is found by a reader of the test's own, which asks SQLite for each position alone.
"""

import json
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from iot_device import damage
from iot_device.damage import GONE
from iot_device.spool import ESTIMATED, Spool

from tests.device.harness import degrees

COUNT, ACKNOWLEDGED = 600, 40
ROUNDS = 8  # of each kind of damage
PARTS = ("spool.db", "spool.db-wal", "spool.db-shm")
NOW = 1_767_225_600_000
Damage = Callable[[Path, random.Random], None]


@pytest.fixture(scope="module", name="lives")
def _lives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders with the files of a spool in use: all in the log, all in the database, some in both."""
    folders = {}
    for kind in ("log", "database", "both"):
        folder = tmp_path_factory.mktemp(kind)
        spool = Spool(folder / "spool.db")
        readings = [degrees("sensor-1", number / 100, NOW + number) for number in range(COUNT)]
        (folder / "written").write_text("\n".join(reading.payload() for reading in readings))
        spool.take("sensor-1", readings[: COUNT // 2])
        spool.quarantine(COUNT // 4, "PACKET_TOO_LARGE")
        spool.acknowledge(range(1, ACKNOWLEDGED + 1))
        if kind != "log":
            spool.settle()
            spool._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        spool.take("sensor-1", readings[COUNT // 2 :])
        if kind == "database":
            spool._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        folders[kind] = tmp_path_factory.mktemp(f"live-{kind}")
        for part in (*PARTS, "written"):
            shutil.copy(folder / part, folders[kind] / part)
        spool._database.close()
    return folders


def content(path: Path) -> dict[str, int]:
    """The payloads that SQLite finds in a database, and how often; none where it finds none."""
    found: dict[str, int] = {}
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as database:
        for seq in range(1, COUNT + 1):
            with suppress(sqlite3.Error):
                for [payload] in database.execute("SELECT payload FROM readings NOT INDEXED WHERE seq = ?", (seq,)):
                    found[payload] = found.get(payload, 0) + 1
    return found


def flip(path: Path, rng: random.Random) -> None:
    """Flip one to three bits."""
    data = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 3)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def flip_one(path: Path, at: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(data)


def overwrite(path: Path, rng: random.Random) -> None:
    """Fill one or two pages with nonsense."""
    data = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(data)) // 4096 * 4096
        data[at : at + 4096] = rng.randbytes(4096)
    path.write_bytes(data)


def truncate(path: Path, rng: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size)])


def remove(path: Path, _: random.Random) -> None:
    path.unlink()


def empty(path: Path, _: random.Random) -> None:
    path.write_bytes(b"")


def deliver(path: Path) -> list[str]:
    """Take everything out of a spool as a publisher does, through damage that is found on the way."""
    spool = Spool(path)
    sent: list[str] = []
    for _ in range(3):
        with suppress(sqlite3.Error):  # once for damage that is found on the way, then it is replaced
            while rows := spool.fetch("sensor-1", 0, spool.last, 100):
                sent += [row.payload for row in rows]
                spool.acknowledge(row.seq for row in rows)
            spool.settle()
            break
    count = spool.counters()
    [waiting] = spool._database.execute("SELECT count(*) FROM readings").fetchone()
    assert waiting == spool.waiting == 0, "what was sent is gone"
    assert count["taken"] == sum(count[name] for name in GONE)
    assert min(count.values()) >= 0
    assert count["taken"] <= COUNT
    spool.close()
    Spool(path).close()
    return sent


@pytest.mark.parametrize("kind", ["log", "database", "both"])
@pytest.mark.parametrize("harm", [flip, overwrite, truncate, remove, empty])
def test_every_reading_that_can_be_read_is_delivered_once(
    harm: Damage, kind: str, lives: dict[str, Path], tmp_path: Path
) -> None:
    written = set((lives[kind] / "written").read_text().splitlines())
    for seed in range(ROUNDS):
        rng, folder = random.Random(f"{kind}{harm.__name__}{seed}"), tmp_path / str(seed)  # noqa: S311 - the same damage every time
        shutil.copytree(lives[kind], folder)
        parts = [part for part in PARTS[:2] if (folder / part).stat().st_size]
        harm(folder / rng.choice(parts), rng)
        shutil.copytree(folder, tmp_path / f"{seed}-read")
        readable = content(tmp_path / f"{seed}-read/spool.db").keys() & written
        sent = deliver(folder / "spool.db")
        assert set(sent) <= written, f"{folder}: only what was taken"
        assert len(sent) == len(set(sent)), f"{folder}: once"
        assert readable <= set(sent), f"{folder}: {len(readable - set(sent))} of {len(readable)} are missing"


def test_positions_are_looked_up_although_everything_that_knows_the_last_is_damaged(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    spool.take("sensor-1", [degrees("sensor-1", number / 100, NOW + number) for number in range(COUNT)])
    spool._database.executescript("DELETE FROM sqlite_sequence; DELETE FROM counters")

    class Headless(Hiding):
        def execute(self, query: str, values: tuple[int, ...] = ()) -> Iterator[tuple[Any, ...]] | sqlite3.Cursor:
            if "max(seq)" in query or "DESC" in query:
                raise sqlite3.DatabaseError("database disk image is malformed")
            return super().execute(query, values)

    found = {row[0] for row in damage._all(cast(sqlite3.Connection, Headless(spool._database)), 0)}
    assert found == set(range(1, COUNT + 1))
    spool.close()


class Hiding:
    """A database with a damaged page: it ends a query of all early, and hides rows from a query of a range."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def execute(self, query: str, values: tuple[int, ...] = ()) -> Iterator[tuple[Any, ...]] | sqlite3.Cursor:
        if "ORDER BY" in query:
            return self.first_rows(query)
        return self.database.execute("SELECT 1 WHERE 0") if ">=" in query else self.database.execute(query, values)

    def first_rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        yield from self.database.execute(f"{query} LIMIT 10")
        raise sqlite3.DatabaseError("database disk image is malformed")


def test_readings_that_a_damaged_page_hides_are_looked_up_one_by_one(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    spool.take("sensor-1", [degrees("sensor-1", number / 100, NOW + number) for number in range(COUNT)])
    found = {row[0] for row in damage._all(cast(sqlite3.Connection, Hiding(spool._database)), COUNT)}
    assert found == set(range(1, COUNT + 1))
    spool.close()


def test_a_reading_with_a_neighbours_position_hides_no_neighbour(tmp_path: Path) -> None:
    class Misplaced(Hiding):
        def first_rows(self, query: str) -> Iterator[tuple[Any, ...]]:
            for row in self.database.execute(f"{query} LIMIT 10"):
                yield (30, *row[1:]) if row[0] == 3 else row
            raise sqlite3.DatabaseError("database disk image is malformed")

    spool, new = Spool(tmp_path / "spool.db"), Spool(tmp_path / "new.db")
    spool.take("sensor-1", [degrees("sensor-1", number / 100, NOW + number) for number in range(COUNT)])
    damage.copy_readings(cast(sqlite3.Connection, Misplaced(spool._database)), new._database, COUNT)
    copied = dict(new._database.execute("SELECT payload, seq FROM readings").fetchall())
    original = dict(spool._database.execute("SELECT payload, seq FROM readings").fetchall())
    assert original.items() <= copied.items()
    spool.close()
    new.close()


def test_a_log_whose_database_is_missing_or_empty_is_not_deleted(
    lives: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number, harm in enumerate((remove, empty)):
        folder = tmp_path / str(number)
        shutil.copytree(lives["log"], folder)
        harm(folder / "spool.db", random.Random(1))  # noqa: S311 - not used
        spool = Spool(folder / "spool.db")
        assert spool.waiting == COUNT - ACKNOWLEDGED - 1
        assert spool.counters()["dropped_torn"] == 0
        spool.close()
    assert "missing or empty, but its write-ahead log exists" in caplog.text


SCHEMA = (b"payload TEXT", b"CREATE TABLE counters", b"AUTOINCREMENT", b"tablereadings", b"sqlite_sequence(name,seq)")


@pytest.mark.parametrize("bit", [1, 1 << 7])  # with the latter, Python cannot read an error that quotes the text
@pytest.mark.parametrize("text", SCHEMA)
def test_damage_to_the_schema_costs_no_reading(text: bytes, bit: int, lives: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(lives["database"], tmp_path / "spool")
    path = tmp_path / "spool/spool.db"
    flip_one(path, path.read_bytes().index(text) + 3, bit)
    assert len(deliver(path)) == COUNT - ACKNOWLEDGED - 1


BITS = [(0, 4), (16, 2), (18, 1), (18, 4), (19, 4), (21, 1), (47, 1), (59, 2), (104, 1), (106, 4)]


@pytest.mark.parametrize(("at", "bit"), BITS)
def test_one_bit_of_the_first_page_costs_no_reading(at: int, bit: int, lives: dict[str, Path], tmp_path: Path) -> None:
    """https://www.sqlite.org/fileformat.html: the header, and from 100 on where the schema's entries are."""
    shutil.copytree(lives["database"], tmp_path / "spool")
    path = tmp_path / "spool/spool.db"
    flip_one(path, at, bit)
    assert len(deliver(path)) == COUNT - ACKNOWLEDGED - 1


def test_what_another_process_adds_meanwhile_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher that starts looks at the whole spool while `iot-device publish` adds to it."""
    path, added = tmp_path / "spool.db", [degrees("sensor-1", number, NOW + number) for number in range(10)]
    first = Spool(path)
    first.take("sensor-1", added)
    first.close()
    other, connect = Spool(path, owner=False), Spool._connect

    def connected(self: Spool) -> sqlite3.Connection:
        database = connect(self)

        def begins(statement: str) -> None:
            if other.waiting == len(added) and f"{damage.COLUMNS} FROM readings" in statement:
                other.take("sensor-1", [degrees("sensor-1", 21, NOW)])

        database.set_trace_callback(begins)
        return database

    monkeypatch.setattr(Spool, "_connect", connected)
    spool = Spool(path)
    assert (damage.moved(path), spool.waiting) == ([], len(added) + 1)
    assert spool.counters()["torn"] == 0
    spool.close()
    other.close()


@pytest.mark.parametrize("column", ["payload", "thing", "taken", "payload_digest", "row_digest"])
def test_a_damaged_column_costs_its_reading_only_if_it_is_the_payload(
    column: str, lives: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(lives["database"], tmp_path / "spool")
    path = tmp_path / "spool/spool.db"
    value = {"payload": "replace(payload, '1.5', '1.4')", "thing": "'sensor-9'"}.get(column, f"{column} + 4")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"UPDATE readings SET {column} = {value} WHERE seq = 151")  # noqa: S608 - names of ours
    spool = Spool(path)
    rows = spool.fetch("sensor-1", 0, spool.last, COUNT)
    assert len(rows) == COUNT - ACKNOWLEDGED - 1 - (column == "payload")
    assert spool.counters()["dropped_torn"] == (column == "payload")
    assert [row.seq for row in rows] == sorted({row.seq for row in rows}), "each in its position"
    assert all(json.loads(row.payload)["temp"] == (row.seq - 1) / 100 for row in rows)
    spool.close()


@pytest.mark.parametrize(("bits", "lost"), [(1 << 7, 0), (0b11, 1)])
def test_a_reading_outlives_one_bit_in_each_of_its_digests(bits: int, lost: int, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    spool.take("sensor-1", [degrees("sensor-1", number / 100, NOW + number) for number in range(5)])
    [digests] = spool._database.execute("SELECT payload_digest, row_digest FROM readings WHERE seq = 3").fetchall()
    spool._database.execute(
        "UPDATE readings SET payload_digest = ?, row_digest = ? WHERE seq = 3", [digest ^ bits for digest in digests]
    )
    spool.close()
    spool = Spool(tmp_path / "spool.db")
    assert (spool.waiting, spool.counters()["dropped_torn"]) == (5 - lost, lost)
    assert len(spool.fetch("sensor-1", 0, spool.last, 9)) == 5 - lost
    spool.close()


def test_a_spool_of_an_earlier_release_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript("""
CREATE TABLE IF NOT EXISTS readings (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, thing TEXT NOT NULL, taken INTEGER NOT NULL, payload TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS readings_of_thing ON readings (thing);
CREATE TABLE IF NOT EXISTS aside (
    seq INTEGER PRIMARY KEY, thing TEXT NOT NULL, taken INTEGER NOT NULL, payload TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO readings VALUES (5, 'sensor-1', 1767225600000, '{"deviceId":"sensor-1","temp":1}');
INSERT INTO aside VALUES (4, 'sensor-1', 1767225600000, '{"deviceId":"sensor-1","temp":2}', 'PACKET_TOO_LARGE');
INSERT INTO counters VALUES ('taken', 7), ('acknowledged', 5), ('set_aside', 1), ('torn', 0);
UPDATE sqlite_sequence SET seq = 7 WHERE name = 'readings';
""")
    spool = Spool(path)
    assert [row.seq for row in spool.fetch("sensor-1", 0, spool.last, 9)] == [5]
    assert (spool.last, spool.why_quarantined(4)) == (7, "PACKET_TOO_LARGE")
    count = spool.counters()
    assert (count["taken"], count["acknowledged"], count["quarantined"], count["torn"]) == (7, 5, 1, 0)
    assert not damage.moved(path), "nothing was damaged"
    spool.close()


def test_a_full_disk_keeps_readings_in_memory_until_there_is_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool.db")
    spool.take("sensor-1", [degrees("sensor-1", 1.0)])
    [pages] = spool._database.execute("PRAGMA page_count").fetchone()
    spool._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full") as raised:
        spool.take("sensor-1", [degrees("sensor-1", float(number)) for number in range(1000)])
    assert damage.may_pass(raised.value)
    assert spool.hold("sensor-1", [degrees("sensor-1", 2.0), degrees("sensor-1", 3.0)])
    rows = spool.fetch("sensor-1", 0, spool.last, 9)
    assert [json.loads(row.payload)["temp"] for row in rows] == [1, 2, 3]
    spool.acknowledge([rows[1].seq])
    assert (spool.waiting, spool.waits(rows[2].seq), spool.counters()["acknowledged"]) == (2, True, 1)
    spool._database.execute("PRAGMA max_page_count = 100000")
    spool.settle()
    assert (spool.counters()["taken"], spool.waiting, spool._held) == (3, 2, {})
    spool.close()
    again = Spool(tmp_path / "spool.db")
    assert [row.seq for row in again.fetch("sensor-1", 0, again.last, 9)] == [rows[0].seq, rows[2].seq]
    again.close()


def test_memory_for_readings_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iot_device.spool.HELD_LIMIT", 2)
    spool = Spool(tmp_path / "spool.db")
    assert spool.hold("sensor-1", [degrees("sensor-1", 1.0), degrees("sensor-1", 2.0)])
    assert not spool.hold("sensor-1", [degrees("sensor-1", 3.0)])
    spool.close()


def test_a_read_only_file_is_named_with_its_fix(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("attempt to write a readonly database")
    error.sqlite_errorcode = sqlite3.SQLITE_READONLY
    assert "remount" in damage.fix(error)


def test_totals_are_called_estimates_once_the_counters_cannot_be_read(
    lives: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(lives["database"], tmp_path / "spool")
    path = tmp_path / "spool/spool.db"
    with closing(sqlite3.connect(path)) as database:
        [page] = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'counters'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(bytes(4096))
    assert len(deliver(path)) == COUNT - ACKNOWLEDGED - 1
    assert "estimates" in caplog.text
    with path.open("r+b") as file:  # once more, to the file that has the mark
        file.seek(47)
        file.write(b"\5")
    spool = Spool(path)
    assert (spool.counters()["torn"], spool.counters()[ESTIMATED]) == (2, 1)
    spool.close()
