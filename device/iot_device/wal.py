"""The log of a spool, SQLite's write-ahead log, read past a damaged frame, where SQLite ends its reading for good.

https://www.sqlite.org/walformat.html
"""

import os
import shutil
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

HEADER, FRAME = struct.Struct(">8I"), struct.Struct(">6I")
MAGIC = 0x377F0682  # its last bit says that checksums are of big-endian words
PAGE = 4096  # of every spool
Sum = tuple[int, int]


class Frame(NamedTuple):
    """A page as a transaction left it, `at` a position in the log."""

    page: int
    """Its number, from 1; 0 where that is certainly wrong."""
    is_commit: bool
    """Whether it is the last one of its transaction."""
    at: int
    is_intact: bool


def log_of(path: Path) -> Path:
    """Return the log beside a database."""
    return path.with_name(f"{path.name}-wal")


def is_log_alone(path: Path) -> bool:
    """Return whether a log is left whose database is missing or empty: SQLite would delete it."""
    log = log_of(path)
    return not (path.exists() and path.stat().st_size) and log.exists() and log.stat().st_size > HEADER.size


def is_log_cut(path: Path) -> bool:
    """Return whether SQLite would silently end its reading of the log before the last commit.

    A frame whose checksum is wrong is damaged if another transaction follows: each was on the disk before the next one
    began. In the last transaction it may be what a power cut left, and is no damage.
    """
    is_damaged = has_commit = False
    for frame in frames(path):
        if has_commit and frame.is_intact:
            return True
        is_damaged = is_damaged or not frame.is_intact
        has_commit = is_damaged and (has_commit or frame.is_commit)
    return False


def copies(path: Path) -> Path:
    """Return the folder for copies of a database while it is salvaged."""
    return path.with_name(f"{path.name}-copies")


@contextmanager
def versions(path: Path) -> Iterator[list[Path]]:
    """Yield copies of a database whose log is damaged, and delete them. Raises OSError, such as for a full disk.

    The first has the latest pages in the log, up to the last intact commit. Two more may hold readings that are lost
    with its damaged pages: one that has the intact pages before them, and one with the log, as SQLite reads it.
    """
    folder = copies(path)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir()
        latest, before, read = (shutil.copyfile(path, folder / name) for name in ("latest", "before", "read"))
        shutil.copyfile(log_of(path), log_of(read))
        found = list(frames(path))
        _write(log_of(path), _latest(found), latest)
        _write(log_of(path), _latest(frame for frame in found if frame.is_intact), before)
        yield [latest, before, read]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def apply(path: Path) -> None:
    """Write the latest pages in the log, up to the last intact commit, into its database; delete it. Raises OSError."""
    _write(log_of(path), _latest(frames(path)), path)
    log_of(path).unlink()


def _latest(found: Iterable[Frame]) -> dict[int, int]:
    """Return where the latest version of each page is in the log, up to the last intact commit."""
    latest: dict[int, int] = {}
    pending: dict[int, int] = {}
    for frame in found:
        if frame.page:
            pending[frame.page] = frame.at
        if frame.is_commit and frame.is_intact:  # behind the last one is what a power cut left
            latest |= pending
            pending = {}
    return latest


def _write(log: Path, pages: dict[int, int], to: Path) -> None:
    with log.open("rb") as source, to.open("r+b") as file:
        for page, at in pages.items():
            source.seek(at)
            file.seek((page - 1) * PAGE)
            file.write(source.read(PAGE))
        file.flush()
        os.fsync(file.fileno())


def frames(path: Path) -> Iterator[Frame]:
    """Yield the frames of the log's latest round, those since it was last reset, also damaged ones.

    Each checksum continues the one before. Behind a damaged frame it continues what is stored there, or what should be.
    """
    try:
        log = log_of(path).open("rb")
    except FileNotFoundError:
        return
    with log:
        size = os.fstat(log.fileno()).st_size
        most = (size + (path.stat().st_size if path.exists() else 0)) // PAGE  # pages that the database can have
        salts, sums, order = _begin(log, size)
        is_of_round = True
        for at in _positions(size):
            log.seek(at - FRAME.size)
            data = log.read(FRAME.size + PAGE)
            *found, one, two = FRAME.unpack_from(data)[2:]
            head, page_data, stored = data[:8], data[FRAME.size :], (one, two)
            expected = [_sum(head + page_data, before, order) for before in sums]
            is_right = stored in expected
            if not is_right:
                head = _repaired(head, page_data, sums, stored, order)
            page, pages = struct.unpack(">2I", head)
            is_of_round = found == salts or (is_right and is_of_round)
            sums = [stored, *([] if is_right else expected[:1])] if is_of_round else []
            if is_right:
                most = max(most, pages)
            if is_of_round:
                yield Frame(page if is_right or page <= most else 0, pages > 0, at, is_right and found == salts)


def _begin(log: BinaryIO, size: int) -> tuple[list[int], list[Sum], str]:
    """Return the salts of the latest round, the checksum before its first frame, and the order of its words.

    Where the header is damaged there is no checksum, and the round is the one of the first two frames that agree.
    """
    data = log.read(HEADER.size).ljust(HEADER.size, b"\0")
    magic, _, page, _, *salts, one, two = HEADER.unpack(data)
    order = ">" if magic & 1 else "<"
    if (magic & ~1, page, _sum(data[:24], (0, 0), order)) == (MAGIC, PAGE, (one, two)):
        return salts, [(one, two)], order

    def found() -> Iterator[list[int]]:
        for at in _positions(size):
            log.seek(at - FRAME.size)
            yield list(FRAME.unpack(log.read(FRAME.size))[2:4])

    return next((one for one, other in pairwise(found()) if one == other), []), [], "<>"[sys.byteorder == "big"]


def _repaired(head: bytes, page_data: bytes, sums: list[Sum], stored: Sum, order: str) -> bytes:
    """Return page number and size after a commit, with the one bit flipped that makes the checksum right, if any."""
    for bit in range(64 if sums else 0):
        candidate = (int.from_bytes(head) ^ 1 << bit).to_bytes(8)
        if stored in [_sum(candidate + page_data, before, order) for before in sums]:
            return candidate
    return head


def _positions(size: int) -> range:
    return range(HEADER.size + FRAME.size, size - PAGE + 1, FRAME.size + PAGE)


def _sum(data: bytes, before: Sum, order: str) -> Sum:
    one, two = before
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for first, second in zip(words, words, strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two
