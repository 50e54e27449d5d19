"""Damage to a spool's log: SQLite ends its reading at the first damaged frame, the publisher goes on behind it."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from iot_device import damage, wal
from iot_device.damage import PAGE_ROWS
from iot_device.spool import Spool, SpoolError

from tests.device.harness import degrees
from tests.device.test_damage import deliver, flip_one

COUNT, ACKNOWLEDGED = 150, 40
NOW = 1_767_225_600_000
PAYLOADS = [degrees("sensor-1", number / 100, NOW + number).payload() for number in range(COUNT)]
FRAME = wal.FRAME.size + wal.PAGE


@pytest.fixture(scope="module", name="spool")
def _spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spool whose readings are in the log, each with a commit of its own."""
    folder, copy = tmp_path_factory.mktemp("spool"), tmp_path_factory.mktemp("copy") / "spool"
    spool = Spool(folder / "spool.db")
    rows = [("sensor-1", NOW + number, payload) for number, payload in enumerate(PAYLOADS)]
    for row in rows[: COUNT // 2]:
        spool.take_rows([row])
    spool.acknowledge(range(1, ACKNOWLEDGED + 1))
    for row in rows[COUNT // 2 :]:
        spool.take_rows([row])
    shutil.copytree(folder, copy)
    spool.close()
    return copy


def early(found: list[wal.Frame]) -> int:
    """A frame whose page is in later ones again."""
    return next(at for at in range(100, len(found)) if found[at].page in {one.page for one in found[at + 1 :]})


def final(found: list[wal.Frame]) -> dict[int, int]:
    """The last frames of pages that are not in the last commit, by page: the schema, the readings' root and leaves."""
    last = {one.page: at for at, one in enumerate(found)}
    return {page: at for page, at in last.items() if at < len(found) - 3}


def zero(path: Path, at: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(size))


PLACES = {"page number": 3, "size after a commit": 7, "salt": 9, "checksum": 17, "page": 1000}
HARMS: dict[str, Callable[[Path, int], None]] = {
    f"a bit in its {place}": lambda log, at, offset=offset: flip_one(log, at + offset, 4)
    for place, offset in PLACES.items()
} | {
    "its page is zero": lambda log, at: zero(log, at + wal.FRAME.size, wal.PAGE),
    "all of it is zero": lambda log, at: zero(log, at, FRAME),
    "a block across two": lambda log, at: zero(log, at - 2000, wal.PAGE),
}


@pytest.mark.parametrize("harm", HARMS)
def test_commits_behind_a_damaged_frame_are_read(harm: str, spool: Path, tmp_path: Path) -> None:
    path = shutil.copytree(spool, tmp_path / "spool") / "spool.db"
    HARMS[harm](wal.log_of(path), wal.HEADER.size + FRAME * early(list(wal.frames(path))))
    with closing(sqlite3.connect(shutil.copytree(path.parent, tmp_path / "read") / "spool.db")) as database:
        [readable] = database.execute("SELECT count(*) FROM readings").fetchone()
    assert readable < COUNT // 2, "SQLite ends there"
    assert sorted(deliver(path)) == sorted(PAYLOADS[ACKNOWLEDGED:]), "all that wait, and none that was acknowledged"


@pytest.mark.parametrize("harm", HARMS)
def test_what_is_lost_with_the_last_version_of_a_page_is_counted(harm: str, spool: Path, tmp_path: Path) -> None:
    for page, frame in final(list(wal.frames(spool / "spool.db"))).items():
        path = shutil.copytree(spool, tmp_path / str(page)) / "spool.db"
        HARMS[harm](wal.log_of(path), wal.HEADER.size + FRAME * frame)
        opened = Spool(path)
        count = opened.counters()
        opened.close()
        sent = deliver(path)
        assert len(sent) == len(set(sent)) >= COUNT - ACKNOWLEDGED - (1 if "bit" in harm else PAGE_ROWS)
        assert set(sent) <= set(PAYLOADS)
        assert count["taken"] == COUNT
        assert len(sent) + count["dropped_torn"] + count["acknowledged"] == COUNT
        assert [one.name for one in damage.moved(path)] == [one.name for one in path.parent.glob("*spoilt-*[0-9]")]


@pytest.mark.parametrize("at", range(0, wal.HEADER.size, 3))
def test_a_damaged_header_of_the_log_costs_no_reading(at: int, spool: Path, tmp_path: Path) -> None:
    path = shutil.copytree(spool, tmp_path / "spool") / "spool.db"
    flip_one(wal.log_of(path), at, 16)
    assert sorted(deliver(path)) == sorted(PAYLOADS[ACKNOWLEDGED:])


def test_what_a_power_cut_leaves_of_the_last_commit_is_no_damage(spool: Path, tmp_path: Path) -> None:
    found = list(wal.frames(spool / "spool.db"))
    [*_, before, _] = [at for at, frame in enumerate(found) if frame.is_commit]
    for frame in range(before + 1, len(found)):
        path = shutil.copytree(spool, tmp_path / str(frame)) / "spool.db"
        flip_one(wal.log_of(path), wal.HEADER.size + FRAME * frame + 2000, 4)
        opened = Spool(path)
        assert (opened.waiting, damage.moved(path)) == (COUNT - ACKNOWLEDGED - 1, [])
        opened.close()


def test_what_a_power_cut_leaves_behind_damage_is_not_applied(spool: Path, tmp_path: Path) -> None:
    path = shutil.copytree(spool, tmp_path / "spool") / "spool.db"
    found = list(wal.frames(path))
    for frame in (early(found), len(found) - 1):
        flip_one(wal.log_of(path), wal.HEADER.size + FRAME * frame + 1000, 4)
    assert sorted(deliver(path)) == sorted(PAYLOADS[ACKNOWLEDGED:-1])


def test_frames_of_an_earlier_round_or_a_transaction_that_failed_are_no_damage(tmp_path: Path) -> None:
    spool, rows = Spool(tmp_path / "spool.db"), [("sensor-1", NOW, payload) for payload in PAYLOADS]
    spool.take_rows(rows)
    spool._database.execute("PRAGMA wal_checkpoint(RESTART)")
    spool.take_rows(rows[:1])
    assert len(list(wal.frames(spool.path))) * FRAME < wal.log_of(spool.path).stat().st_size - FRAME
    assert not wal.is_log_cut(spool.path)
    spool._database.execute("PRAGMA cache_size = 5")
    size = wal.log_of(spool.path).stat().st_size
    with pytest.raises(AttributeError):
        spool.take_rows([*rows * 9, ("sensor-1", NOW, None)])  # type: ignore[list-item]
    assert wal.log_of(spool.path).stat().st_size > size, "it was written in part"
    spool.take_rows(rows[:1])
    assert not all(frame.is_intact for frame in wal.frames(spool.path))
    assert not wal.is_log_cut(spool.path)
    spool.close()


def test_a_command_beside_the_publisher_leaves_a_damaged_log_to_it(spool: Path, tmp_path: Path) -> None:
    path = shutil.copytree(spool, tmp_path / "spool") / "spool.db"
    flip_one(wal.log_of(path), wal.HEADER.size + FRAME * 100 + 1000, 4)
    before = wal.log_of(path).read_bytes()
    with pytest.raises(SpoolError, match="start the publisher"):
        Spool(path, owner=False)
    assert wal.log_of(path).read_bytes() == before
