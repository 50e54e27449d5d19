"""One run over one queue, in rounds.

Dead letters are received and read as any other messages. Rows that the table has already are left alone, the others
stored by group commit, and only then is a dead letter deleted. One with a message that is no reading stays on its
queue, given back at the end. Dead letters queued after the start are left for another time, so a run ends however many
more arrive.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from iot_receiver.logs import event
from iot_receiver.messages import Rejection, Source
from iot_receiver.queues import HIDDEN_SECONDS, VISIBILITY_SECONDS, Queue, QueuedMessage
from iot_receiver.redrive.reader import Reader, Results
from iot_receiver.redrive.stored import Identity, Stored, identity
from iot_receiver.redrive.tally import Tally, device
from iot_receiver.rows import Row
from iot_receiver.store import Overloaded, Store, Unavailable

STORE_SECONDS = 5.0  # for the rows of a round, and again
STORE_TRIES = 6
STORED_AT_ONCE = 1_000  # rows, well within the store's queue
PROGRESS_SECONDS = 2.0
# An interrupted run's messages stay hidden for a while: the next run waits that long for them.
PATIENCE_SECONDS = VISIBILITY_SECONDS + 10
KEPT_MOST = 50_000  # dead letters kept in one run; SQS hides 120,000 at most


class NotStoredError(Exception):
    """DynamoDB does not take rows."""


class Kind(NamedTuple):
    """Which rejected messages to drop: for one reason and, if given, of one device."""

    reason: str
    device: str | None = None

    def matches(self, rejection: Rejection) -> bool:
        """Say whether a message is of this kind."""
        return rejection.reason == self.reason and self.device in {None, device(rejection)}


class Run:
    """A run that stores what can be stored, only looks (`stores=False`), or drops one kind."""

    def __init__(
        self,
        name: str,
        queue: Queue,
        reader: Reader,
        store: Store,
        stored: Stored,
        *,
        stores: bool = True,
        drops: Kind | None = None,
    ) -> None:
        self._name = name
        self._queue = queue
        self._reader = reader
        self._store = store
        self._stored = stored
        self._stores = stores
        self._drops = drops
        self._kept: dict[str, QueuedMessage] = {}  # given back at the end
        self._reported = 0.0
        self.tally = Tally()

    async def run(self, stopping: asyncio.Event) -> Tally:
        """Work until nothing is left that was queued before the start, or until `stopping` is set.

        Raises:
            NotStoredError: when DynamoDB takes no rows for half a minute.
            BotoCoreError, ClientError: when SQS or DynamoDB can't be asked.
        """
        until_ms = time.time_ns() // 1_000_000
        try:
            await self._rounds(until_ms, stopping)
        finally:
            await self._queue.hide(list(self._kept.values()), 0)
            settled = len(self.tally.kept) if self._selects_all else len(self._kept)
            self.tally.left = max(self.tally.left, await self._queue.count() - settled)
        return self.tally

    @property
    def _selects_all(self) -> bool:
        return self._stores and self._drops is None

    async def _rounds(self, until_ms: int, stopping: asyncio.Event) -> None:
        await self._progress(await self._queue.count())
        waited_from = time.monotonic()
        while not stopping.is_set() and len(self._kept) < KEPT_MOST:
            taken = {message.id: message for message in await self._queue.take()}
            new = [message for message in taken.values() if message.id not in self._kept]
            late = [message for message in new if message.sent_ms > until_ms]
            self.tally.left += len(late)
            await self._keep([*late, *(taken[id_] for id_ in taken if id_ in self._kept)])
            fresh = [message for message in new if message.id not in self._kept]
            if fresh:
                await self._round(fresh)
            count = await self._queue.count() if not fresh or self._is_time() else None
            if count is not None and self._is_time():
                await self._progress(count)
            if fresh or late:
                waited_from = time.monotonic()
            elif count is not None and count <= len(self._kept):
                break  # every one was seen
            elif time.monotonic() - waited_from > PATIENCE_SECONDS:
                break  # somebody else holds the others, or the count is outdated
            else:
                await asyncio.sleep(0 if taken else 1)

    async def _round(self, messages: Sequence[QueuedMessage]) -> None:
        read = [(message, self._reader.read(message)) for message in messages]
        selected = [each for each in read if self._selects(each[1])]
        await self._look_at([each for each in read if not self._selects(each[1])])
        rows: dict[Identity, Row] = {}
        sent: dict[Identity, int] = {}
        for message, results in selected:
            for row in results:
                if isinstance(row, Row):
                    rows.setdefault(identity(row), row)
                    sent[identity(row)] = message.sent_ms
        present = await self._present(sent)
        new = {known: row for known, row in rows.items() if known not in present}
        refusals = await self._put(new)
        stored = len(new) - len(refusals)
        self.tally.redriven += stored
        self.tally.already_stored += await self._settle(selected, refusals) - stored

    def _selects(self, results: Results) -> bool:
        """Say whether a dead letter is one to settle."""
        if self._drops is None:
            return self._stores
        return any(isinstance(result, Rejection) and self._drops.matches(result) for result in results)

    async def _look_at(self, read: Sequence[tuple[QueuedMessage, Results]]) -> None:
        """Count what is in dead letters that are none to settle, and keep them."""
        for message, results in read:
            self.tally.letters += 1
            rejections = [result for result in results if isinstance(result, Rejection)]
            self.tally.storable += len(results) - len(rejections)
            if self._drops is None:
                for rejection in rejections:
                    self.tally.reject(rejection, message.id, message.sent_ms)
            if rejections:
                self.tally.kept.append(message.id)
        await self._keep([message for message, _ in read])

    async def _present(self, sent: dict[Identity, int]) -> set[Identity]:
        keys = [key for key, traced in sent if not traced]
        traces: dict[str, dict[str, int]] = {}
        for (key, traced), sent_ms in sent.items():
            if traced:
                traces.setdefault(key[0], {})[key[1]] = sent_ms
        queries = [self._stored.by_trace(device_id, times) for device_id, times in traces.items()]
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
            except (Overloaded, Unavailable):
                await asyncio.sleep(0.2)  # the same rows again: those stored already stay one row each
        raise NotStoredError

    async def _settle(self, read: Sequence[tuple[QueuedMessage, Results]], refusals: dict[Identity, str]) -> int:
        """Delete dead letters whose every message is stored or to be dropped, keep the others.

        Returns:
            How many of their messages the table has.
        """
        done: list[QueuedMessage] = []
        kept: list[QueuedMessage] = []
        stored = 0
        for message, results in read:
            rejections = [
                result
                if isinstance(result, Rejection)
                else Rejection(refusals[identity(result)], Source(message.body.encode()), result.device_id)
                for result in results
                if isinstance(result, Rejection) or identity(result) in refusals
            ]
            stored += len(results) - len(rejections)
            dropped = self._drops is not None and all(self._drops.matches(each) for each in rejections)
            if rejections and not dropped:
                self.tally.kept.append(message.id)
                kept.append(message)
            else:
                self.tally.dropped += bool(rejections)
                done.append(message)
            for rejection in rejections:
                self.tally.reject(rejection, message.id, message.sent_ms)
        self.tally.letters += len(read)
        await asyncio.gather(self._queue.delete(done), self._keep(kept))
        return stored

    async def _keep(self, messages: Sequence[QueuedMessage]) -> None:
        self._kept |= {message.id: message for message in messages}
        await self._queue.hide(messages, HIDDEN_SECONDS)

    def _is_time(self) -> bool:
        return time.monotonic() - self._reported >= PROGRESS_SECONDS

    async def _progress(self, count: int) -> None:
        self._reported = time.monotonic()
        tally = self.tally
        event(
            "redrive_progress",
            f"{self._name}: {tally.redriven} redriven, {tally.already_stored} already stored, "
            f"{tally.rejected} rejected; about {max(0, count - len(self._kept))} dead letters to go",
        )
