"""Takes dead letters back through the receiver's own way to the table: `iot-receiver redrive`.

In rounds: letters are taken from a queue, their messages parsed as any others, those that the table has
already left alone, the rest stored by group commit, and only then letters deleted. A letter with a
message that is no reading stays on its queue, given back at the end. Letters sent after the start are
left for another time, so a run ends however many more come in.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from iot_receiver.logs import event
from iot_receiver.messages import Rejection, Row
from iot_receiver.redrive_letters import Letters
from iot_receiver.redrive_queue import HIDDEN_SECONDS, VISIBILITY_SECONDS, Letter, Queue
from iot_receiver.redrive_stored import Key, Stored, identity
from iot_receiver.store import Store, Unavailable

STORE_SECONDS = 5.0  # for the rows of a round, and again
STORE_TRIES = 6
STORED_AT_ONCE = 1_000  # rows, well within what the store queues
PROGRESS_SECONDS = 2.0
# After an interrupted run its letters are hidden for a while: they are waited for that long.
PATIENCE_SECONDS = VISIBILITY_SECONDS + 10
KEPT_MOST = 50_000  # letters put aside in one run; SQS hides 120,000 at most
REASONS = 50  # different ones in the result

Identity = tuple[Key, bool]


class NotStoredError(Exception):
    """DynamoDB does not take rows."""


@dataclass(slots=True)
class Tally:
    """What became of one queue's letters; messages are counted, but for `letters` and `left`.

    Attributes:
        letters: those looked at.
        redriven: rows that were stored now.
        already_stored: the table had the row.
        rejected: no readings; their letters are kept.
        left: letters that another run may store: sent after the start, or not come to.
        reasons: how many messages were rejected for which reason.
        kept: ids of the letters that hold rejected messages.
    """

    letters: int = 0
    redriven: int = 0
    already_stored: int = 0
    rejected: int = 0
    left: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    kept: list[str] = field(default_factory=list)

    def as_fields(self) -> dict[str, Any]:
        """The numbers, and what is short enough of the rest."""
        numbers = ("letters", "redriven", "already_stored", "rejected", "left")
        return {
            **{name: getattr(self, name) for name in numbers},
            "reasons": dict(self.reasons.most_common(REASONS)),
            "kept": self.kept[:REASONS],
            "kept_letters": len(self.kept),
        }


class Redrive:
    """One run over one queue."""

    def __init__(self, name: str, queue: Queue, letters: Letters, store: Store, stored: Stored) -> None:
        self._name = name
        self._queue = queue
        self._letters = letters
        self._store = store
        self._stored = stored
        self._kept: dict[str, Letter] = {}  # given back at the end
        self._said = 0.0
        self.tally = Tally()

    async def run(self, stopping: asyncio.Event) -> Tally:
        """Work until nothing is left that was sent before the start, or until told to stop.

        Raises:
            NotStoredError: when DynamoDB takes no rows for half a minute.
            BotoCoreError, ClientError: when SQS or DynamoDB can't be asked.
        """
        until_ms = time.time_ns() // 1_000_000
        try:
            await self._rounds(until_ms, stopping)
        finally:
            await self._queue.hide(list(self._kept.values()), 0)
            self.tally.left = max(self.tally.left, await self._queue.count() - len(self.tally.kept))
        return self.tally

    async def _rounds(self, until_ms: int, stopping: asyncio.Event) -> None:
        await self._progress(await self._queue.count())
        waited_from = time.monotonic()
        while not stopping.is_set() and len(self._kept) < KEPT_MOST:
            taken = {letter.id: letter for letter in await self._queue.take()}
            late = [letter for letter in taken.values() if letter.sent_ms > until_ms and letter.id not in self._kept]
            self.tally.left += len(late)
            await self._put_aside([*late, *(taken[id_] for id_ in taken if id_ in self._kept)])
            fresh = [letter for letter in taken.values() if letter.id not in self._kept]
            if fresh:
                await self._round(fresh)
            count = await self._queue.count() if not fresh or self._is_time() else None
            if count is not None and self._is_time():
                await self._progress(count)
            if fresh or late:
                waited_from = time.monotonic()
            elif count is not None and count <= len(self._kept):
                break  # all that there are were seen
            elif time.monotonic() - waited_from > PATIENCE_SECONDS:
                break  # somebody else holds the others, or the count is old
            else:
                await asyncio.sleep(0 if taken else 1)

    async def _round(self, letters: Sequence[Letter]) -> None:
        read = [self._letters.read(letter.body, letter.id, letter.sent_ms) for letter in letters]
        rows: dict[Identity, Row] = {}
        sent: dict[Identity, int] = {}
        for letter, results in zip(letters, read, strict=True):
            for row in results:
                if isinstance(row, Row):
                    known = identity(row)
                    rows.setdefault(known, row)
                    sent[known] = letter.sent_ms
        present = await self._present(sent)
        new = {known: row for known, row in rows.items() if known not in present}
        refusals = await self._put(new)
        stored = len(new) - len(refusals)
        self.tally.redriven += stored
        self.tally.already_stored += await self._settle(letters, read, refusals) - stored

    async def _present(self, sent: dict[Identity, int]) -> set[Identity]:
        keys = [key for key, traced in sent if not traced]
        traces: dict[str, dict[str, int]] = {}
        for (key, traced), sent_ms in sent.items():
            if traced:
                traces.setdefault(key[0], {})[key[1]] = sent_ms
        queries = [
            self._stored.by_trace(device, times, min(times.values()), max(times.values()))
            for device, times in traces.items()
        ]
        by_key, *by_trace = await asyncio.gather(self._stored.by_key(keys), *queries)
        return {(key, False) for key in by_key} | {(key, True) for found in by_trace for key in found}

    async def _put(self, rows: dict[Identity, Row]) -> dict[Identity, str]:
        """Store rows; returns the reasons of those that DynamoDB refuses for good.

        Raises:
            NotStoredError: when it takes none for too long.
        """
        refusals: dict[Identity, str] = {}
        every = list(rows)
        for start in range(0, len(every), STORED_AT_ONCE):
            some = every[start : start + STORED_AT_ONCE]
            refused = await self._put_some([rows[known] for known in some])
            refusals |= {some[place]: reason for place, reason in refused.items()}
        return refusals

    async def _put_some(self, rows: Sequence[Row]) -> dict[int, str]:
        for _ in range(STORE_TRIES):
            try:
                return await self._store.submit(rows, asyncio.get_running_loop().time() + STORE_SECONDS)
            except Unavailable:
                await asyncio.sleep(0.2)  # the same rows again: those already taken stay one row
        raise NotStoredError

    async def _settle(
        self, letters: Sequence[Letter], read: Sequence[Sequence[Row | Rejection]], refusals: dict[Identity, str]
    ) -> int:
        """Delete letters whose every message is stored, keep the others; returns how many messages the table has."""
        done: list[Letter] = []
        kept: list[Letter] = []
        stored = 0
        for letter, results in zip(letters, read, strict=True):
            reasons = [
                result.reason if isinstance(result, Rejection) else refusals.get(identity(result)) for result in results
            ]
            rejected = [reason for reason in reasons if reason is not None]
            self.tally.reasons.update(rejected)
            self.tally.rejected += len(rejected)
            stored += len(reasons) - len(rejected)
            if rejected:
                self.tally.kept.append(letter.id)
            (kept if rejected else done).append(letter)
        self.tally.letters += len(letters)
        await asyncio.gather(self._queue.delete(done), self._put_aside(kept))
        return stored

    async def _put_aside(self, letters: Sequence[Letter]) -> None:
        self._kept |= {letter.id: letter for letter in letters}
        await self._queue.hide(letters, HIDDEN_SECONDS)

    def _is_time(self) -> bool:
        return time.monotonic() - self._said >= PROGRESS_SECONDS

    async def _progress(self, count: int) -> None:
        self._said = time.monotonic()
        tally = self.tally
        event(
            "redrive_progress",
            f"{self._name}: {tally.redriven} redriven, {tally.already_stored} already stored, "
            f"{tally.rejected} rejected; about {max(0, count - len(self._kept))} letters to go",
        )
