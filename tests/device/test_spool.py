"""The spool: readings outlive crashes, limits drop the oldest, and every reading is accounted for."""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from iot_device import damage
from iot_device.damage import GONE
from iot_device.reading import Reading
from iot_device.spool import PLAUSIBLE_MS, Spool, SpoolError

from tests.device.harness import degrees

DAY_MS = 86_400_000
NOW = PLAUSIBLE_MS + 1000 * DAY_MS
MakeSpool = Callable[..., Spool]


@pytest.fixture(name="opened")
def _opened(tmp_path: Path) -> Iterator[MakeSpool]:
    """Opens the same spool several times."""
    spools: list[Spool] = []

    def make(**options: float) -> Spool:
        spools.append(Spool(tmp_path / "spool.db", **options))  # type: ignore[arg-type]  # limit is whole, days is not
        return spools[-1]

    yield make
    for spool in spools:
        spool._database.close()


def readings(count: int, taken: int = NOW) -> list[Reading]:
    return [degrees("sensor-1", float(number), taken + number) for number in range(count)]


def temperatures(spool: Spool, thing: str = "sensor-1") -> list[float]:
    return [json.loads(row.payload)["temp"] for row in spool.fetch(thing, 0, spool.last, 10_000)]


def balance(spool: Spool) -> int:
    """Readings that are unaccounted for: always 0."""
    count = spool.counters()
    gone = sum(count[name] for name in GONE)
    waiting: int
    [waiting] = spool._database.execute("SELECT count(*) FROM readings").fetchone()
    assert waiting == spool.waiting
    return count["taken"] - gone - waiting


def test_a_commit_is_on_the_disk_before_it_returns(opened: MakeSpool) -> None:
    spool = opened()
    assert spool._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert spool._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_readings_outlive_a_crash(opened: MakeSpool, tmp_path: Path) -> None:
    taken = readings(3)
    opened().take("sensor-1", taken)  # never closed
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tmp_path.glob("spool.db*"):  # as the disk is at this moment
        (copy / file.name).write_bytes(file.read_bytes())
    found = Spool(copy / "spool.db")
    assert [row.payload for row in found.fetch("sensor-1", 0, found.last, 10)] == [
        reading.payload() for reading in taken
    ]
    assert (found.waiting, balance(found)) == (3, 0)


def test_acknowledged_readings_are_deleted_with_the_next_commit(opened: MakeSpool) -> None:
    spool = opened()
    spool.take("sensor-1", readings(3))
    first, *_ = spool.fetch("sensor-1", 0, spool.last, 1)
    spool.acknowledge([first.seq])
    assert len(opened().fetch("sensor-1", 0, spool.last, 9)) == 3
    spool.take("sensor-1", readings(1))
    assert len(opened().fetch("sensor-1", 0, spool.last, 9)) == 3
    assert (spool.waiting, spool.counters()["acknowledged"], balance(spool)) == (3, 1, 0)
    spool.acknowledge([first.seq])  # a late second answer
    spool.settle()
    assert (spool.waiting, spool.counters()["acknowledged"], balance(spool)) == (3, 1, 0)


def test_positions_are_never_used_twice(opened: MakeSpool) -> None:
    spool = opened()
    spool.take("sensor-1", readings(2))
    last = spool.last
    spool.acknowledge(range(last + 1))
    spool.close()
    again = opened()
    assert (again.waiting, again.last) == (0, last)
    again.take("sensor-1", readings(1))
    assert again.last == last + 1


def test_the_oldest_are_dropped_when_too_many_wait(opened: MakeSpool, caplog: pytest.LogCaptureFixture) -> None:
    spool = opened(limit=100)
    for start in range(0, 150, 30):
        spool.take("sensor-1", readings(30, NOW + start))
    kept = temperatures(spool)
    assert len(kept) <= 100
    assert len(kept) >= 99
    assert kept[-1] == 29.0
    assert spool.counters()["dropped_count"] == 150 - len(kept)
    assert balance(spool) == 0
    dropped = re.findall(r"dropped (\d+) readings", caplog.text)
    assert sum(map(int, dropped)) == 150 - len(kept)
    assert "spool_max_readings" in caplog.text


def test_the_oldest_are_dropped_when_they_wait_too_long(opened: MakeSpool, caplog: pytest.LogCaptureFixture) -> None:
    spool = opened(days=2)
    spool.take("sensor-1", [degrees("sensor-1", 1.0, NOW - 3 * DAY_MS), degrees("sensor-1", 2.0, NOW - DAY_MS)])
    assert spool.expire(NOW) == 1
    assert temperatures(spool) == [2.0]
    assert (spool.counters()["dropped_age"], balance(spool)) == (1, 0)
    assert "spool_max_days" in caplog.text


def test_a_clock_that_was_not_set_yet_drops_nothing(opened: MakeSpool) -> None:
    spool = opened(days=1)
    spool.take("sensor-1", [degrees("sensor-1", 1.0, 5000)])  # 1970
    assert spool.expire(NOW) == 0
    assert temperatures(spool) == [1.0]


def test_a_full_disk_costs_the_reading_and_nothing_else(opened: MakeSpool) -> None:
    spool = opened()
    spool.take("sensor-1", readings(5))
    spool.acknowledge([1, 2])
    [pages] = spool._database.execute("PRAGMA page_count").fetchone()
    spool._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        spool.take("sensor-1", readings(1000))
    assert (spool.settled, spool.waiting, spool.counters()["taken"]) == ({1, 2}, 5, 5)
    spool._database.execute("PRAGMA max_page_count = 100000")
    spool.take("sensor-1", readings(1))
    assert (spool.waiting, balance(spool)) == (4, 0)


def test_a_quarantined_reading_can_be_looked_at(opened: MakeSpool) -> None:
    spool = opened()
    spool.take("sensor-1", readings(2))
    spool.quarantine(1, "PACKET_TOO_LARGE")
    assert temperatures(spool) == [1.0]
    assert (spool.why_quarantined(1), spool.why_quarantined(2)) == ("PACKET_TOO_LARGE", None)
    assert (spool.waits(1), spool.waits(2)) == (False, True)
    assert (spool.counters()["quarantined"], balance(spool)) == (1, 0)


def test_things_do_not_see_each_other(opened: MakeSpool) -> None:
    spool = opened()
    spool.take("sensor-1", readings(2))
    spool.take("sensor-2", readings(3))
    assert (len(temperatures(spool)), len(temperatures(spool, "sensor-2"))) == (2, 3)


def test_another_process_may_add(opened: MakeSpool) -> None:
    spool, other = opened(), opened()
    assert not spool.refresh()
    other.take("sensor-1", readings(2))
    assert spool.refresh()
    assert (spool.last, spool.waiting) == (other.last, 2)
    assert not spool.refresh()


def test_a_page_of_acknowledged_readings_does_not_end_the_others(opened: MakeSpool) -> None:
    spool = opened()
    spool.take("sensor-1", readings(30))
    spool.acknowledge(range(1, 21))
    assert [row.seq for row in spool.fetch("sensor-1", 0, spool.last, 10)] == list(range(21, 31))
    spool.acknowledge(range(21, 31))
    assert spool.fetch("sensor-1", 0, spool.last, 10) == []


def test_a_damaged_file_is_moved_away_and_a_new_one_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "spool.db").write_bytes(b"torn by a failing disk" * 1000)
    spool = Spool(tmp_path / "spool.db")
    spool.take("sensor-1", readings(1))
    assert temperatures(spool) == [0.0]
    assert len(list(tmp_path.glob("spool.db.spoilt-*"))) == 1
    assert "the spool is damaged" in caplog.text
    assert (spool.counters()["torn"], balance(spool)) == (1, 0)
    spool.close()


def tear(path: Path) -> None:
    """Damage a database in its middle, as a failing disk does: pages of its table and of its index."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        for place in (size // 3, size * 3 // 4):
            file.seek(place // 4096 * 4096)
            file.write(b"\xff" * 8192)


def test_the_readable_part_of_a_damaged_file_is_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "spool.db"
    spool = Spool(path)
    spool.take("sensor-1", readings(5000))
    spool.acknowledge(range(1, 11))
    spool.close()
    tear(path)
    again = Spool(path)
    count = again.counters()
    assert 1000 < again.waiting < 4990
    assert (count["torn"], count["acknowledged"], count["taken"]) == (1, 10, 5000)
    assert (count["dropped_torn"], balance(again)) == (4990 - again.waiting, 0)
    assert f"dropped {count['dropped_torn']}" in caplog.text
    assert temperatures(again)[0] == 10.0, "from the beginning"
    assert temperatures(again)[-1] == 4999.0, "and from the end"
    again.close()
    assert Spool(path).counters()["torn"] == 1, "once is enough"


def test_damage_during_use_costs_one_operation(opened: MakeSpool, tmp_path: Path) -> None:
    spool = opened()
    spool.take("sensor-1", readings(5000))
    spool._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spool._database.execute("PRAGMA shrink_memory")
    tear(tmp_path / "spool.db")
    with pytest.raises(sqlite3.DatabaseError):
        spool.fetch("sensor-1", 0, spool.last, 10_000)
    place = spool.last
    kept = [row.seq for row in spool.fetch("sensor-1", 0, place, 10_000)]
    assert place == 5000
    assert kept[0] == 1, "each keeps its position, by which the broker's answers find it"
    spool.take("sensor-1", readings(1))
    assert (spool.last, spool.waiting, balance(spool)) == (place + 1, len(kept) + 1, 0)


def test_a_reading_is_stored_although_the_file_is_damaged(opened: MakeSpool, tmp_path: Path) -> None:
    spool = opened()
    spool.take("sensor-1", readings(5000))
    spool._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spool._database.execute("PRAGMA shrink_memory")
    size = (tmp_path / "spool.db").stat().st_size
    with (tmp_path / "spool.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    spool.take("sensor-1", [degrees("sensor-1", 77.0, NOW)])
    assert temperatures(spool) == [77.0]
    assert spool.last == 5001
    assert balance(spool) == 0


def test_a_damaged_file_is_left_to_the_publisher_that_owns_it(tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(b"torn by a failing disk" * 1000)
    with pytest.raises(SpoolError, match="start the publisher"):
        Spool(tmp_path / "spool.db", owner=False)
    assert not list(tmp_path.glob("*.spoilt-*"))


def test_the_damaged_file_stays_if_no_new_one_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spool.db").write_bytes(b"torn by a failing disk" * 1000)
    connect = Spool._connect

    def fail(self: Spool) -> sqlite3.Connection:
        if self.path.exists():
            return connect(self)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Spool, "_connect", fail)
    with pytest.raises(SpoolError, match="full"):
        Spool(tmp_path / "spool.db")
    assert (tmp_path / "spool.db").read_bytes().startswith(b"torn")
    assert not list(tmp_path.glob("*.spoilt-*"))


def test_the_log_of_a_damaged_file_moves_with_it(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    for part in damage.PARTS:
        path.with_name(path.name + part).write_text(part)
    away = damage.move_away(path)
    assert {one.name for one in tmp_path.iterdir()} == {away.name + part for part in damage.PARTS}
    damage.move_back(path)
    found = {one.name: one.read_text() for one in tmp_path.iterdir()}
    assert found == {path.name + part: part for part in damage.PARTS}


def test_a_disk_that_is_full_at_the_end_costs_no_reading(
    opened: MakeSpool, caplog: pytest.LogCaptureFixture
) -> None:
    spool = opened()
    spool.take("sensor-1", readings(2))
    spool.acknowledge([1])
    spool._database.execute("PRAGMA query_only = 1")
    spool.close()
    assert "sent once more" in caplog.text
    assert opened().waiting == 2


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="state_dir"):
        Spool(tmp_path / "none" / "spool.db")
