"""Group commit: rows of many requests share calls to DynamoDB, and each request gets the outcome of its own rows.

A call is made as soon as there is a row and few calls are in flight, or enough rows for a full call; rows that
arrive meanwhile make up the next. So a lone row never waits for others, and a crowd fills its calls.

A call that is not answered for a while is made again, as its connection may be dead. But it may be DynamoDB that is
slow: so it stays open until nobody waits for it any more, and whichever is answered first counts.
"""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from functools import partial

import msgspec

from iot_receiver import admission
from iot_receiver.admission import CALM_SECONDS, Pace, Throttle
from iot_receiver.concurrency import Concurrency
from iot_receiver.dynamodb import BATCH_ITEMS, BatchWriter, Key, WriteError, Written
from iot_receiver.logs import fault
from iot_receiver.metrics import Metrics
from iot_receiver.rows import Row, RowWriter, is_same_reading

IN_FLIGHT = 2  # calls in flight before the next has to be a full one: more would only make them emptier
SLOW_SECONDS = 0.1  # a call in flight for longer no longer counts
ANSWERS_SECONDS = 0.001  # for answers that have arrived: a starved loop comes to its timers before its sockets
WRITE_MOST_SECONDS = 0.7  # that a call is expected to take, however long the last ones took
QUEUE_ITEMS = 10_000  # about 15 MiB, whatever the expected wait
BACKOFF_SECONDS = 0.05  # at most: under throttling, the shared pace is what slows down
DEADLINE_TICK = 0.04
LOOK_TIMEOUT = 0.2  # seconds
LOOK_AGAIN_SECONDS = 10.0  # after DynamoDB could not be asked


class Overloaded(Exception):  # noqa: N818 - a state, not a fault
    """Rows accepted now would not be stored in time."""


class Unavailable(Exception):  # noqa: N818
    """The rows, or some of them, were not stored in time."""


class _Request:
    """The rows of one request, until they are settled."""

    __slots__ = ("accepted", "deadline", "future", "left", "refusals")

    def __init__(self, rows: int, accepted: float, deadline: float, future: asyncio.Future[dict[int, str]]) -> None:
        self.left = rows
        self.accepted = accepted
        self.deadline = deadline
        self.future = future
        self.refusals: dict[int, str] = {}


class _Entry(msgspec.Struct, eq=False):
    """One row on its way."""

    request: _Request
    index: int
    key: Key
    row: Row  # encoded as it goes into a call: thousands at once would block the loop
    alone: bool = False  # in a call of its own, to find which item of a batch is refused
    repeated: bool = False  # it waits for another call, while the first may still be answered
    settled: bool = False

    @property
    def over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.settled or self.request.future.done()


class _Call(msgspec.Struct, eq=False):
    """A call in flight."""

    entries: list[_Entry]
    puts: dict[Key, bytes]
    share: float  # of the rows that it might carry
    calls: int  # in flight when it was made, itself included
    rows: int  # in those
    size: int  # rows of its own
    started: float
    timer: asyncio.TimerHandle | None = None
    repeated: bool = False  # others write its rows, too


class Store:
    """Writes rows through a `BatchWriter`."""

    def __init__(self, writer: BatchWriter, rows: RowWriter, metrics: Metrics) -> None:
        self._writer = writer
        self._put = rows.put
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Entry] = deque()
        self._requests: deque[_Request] = deque()  # by deadline
        self._calls: dict[_Call, asyncio.Task[None]] = {}
        self._repeated: set[asyncio.Task[None]] = set()  # calls without an answer, no longer counted as in flight
        self._slow: set[_Call] = set()  # calls in flight for longer than SLOW_SECONDS
        self._pace = Pace()
        self._concurrency = Concurrency()
        self._throttle = Throttle()
        self._rows_in_flight = 0
        self._looks_from = 0.0
        self._paused = False
        self._pumping = False
        self._ticking = False

    def submit(self, rows: Sequence[Row], deadline: float) -> asyncio.Future[dict[int, str]]:
        """Store rows by `deadline` (the event loop's time).

        Returns:
            The reasons of those that DynamoDB refuses for good, by index; the others are durable.
            The future raises Unavailable when any is neither by the deadline.

        Raises:
            Overloaded: when they are not expected to be stored in time, or the queue is full; none is stored.
        """
        now = self._loop.time()
        if self._metrics.queued + len(rows) > QUEUE_ITEMS or self.overloaded(deadline, len(rows)):
            raise Overloaded
        future: asyncio.Future[dict[int, str]] = self._loop.create_future()
        request = _Request(len(rows), now, deadline, future)
        if not rows:
            future.set_result({})
            return future
        self._metrics.queued += len(rows)
        self._waiting.extend([_Entry(request, index, (row.device_id, row.time), row) for index, row in enumerate(rows)])
        place = len(self._requests)
        while place and self._requests[place - 1].deadline > deadline:  # this one was read later after it arrived
            place -= 1
        self._requests.insert(place, request)
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(DEADLINE_TICK, self._expire)
        self._wake()
        return future

    def overloaded(self, deadline: float, rows: int = 1) -> bool:
        """Say whether so many more rows would have to wait for too long to be stored by a deadline."""
        if not self._waiting:
            return False
        now = self._loop.time()
        if now - self._oldest() < CALM_SECONDS:
            return False
        if self._throttle.throttles(now):
            least, wait = float(BATCH_ITEMS), admission.THROTTLED_WAIT_SECONDS  # shows when it takes rows again
        else:
            least, wait = self._concurrency.acceptable(), deadline - now - admission.STORING_SECONDS
        return self._metrics.queued + rows > max(least, self._pace.acceptable(wait, now))

    def _oldest(self) -> float:
        """When the oldest request was accepted that still waits."""
        requests = self._requests
        while requests and requests[0].future.done():
            requests.popleft()
        return requests[0].accepted if requests else self._loop.time()

    async def drain(self) -> None:
        """Wait until every row is settled or late."""
        await asyncio.gather(*(request.future for request in self._requests), return_exceptions=True)
        await asyncio.gather(*self._calls.values(), return_exceptions=True)

    def _wake(self) -> None:
        if not self._pumping:
            # not at once: requests that arrived in the same turn of the loop go together
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        while self._waiting and (room := self._room()):
            now = self._loop.time()
            if delay := self._throttle.delay(now):
                self._pause(delay)
                return
            room = min(room, self._throttle.room(now))
            entries, puts = self._next_batch(now, room)
            if entries:
                size = len(puts)
                self._throttle.sent(size, now)
                self._rows_in_flight += size
                call = _Call(entries, puts, size / room, len(self._calls) + 1, self._rows_in_flight, size, now)
                self._calls[call] = task = self._loop.create_task(self._call(call))
                self._metrics.writes_in_flight = len(self._calls)
                task.add_done_callback(partial(self._called, call))

    def _room(self) -> int:
        """How many rows may go into another call now."""
        calls = len(self._calls)
        few = len(self._waiting) < BATCH_ITEMS and calls >= IN_FLIGHT + len(self._slow)
        return 0 if few else self._concurrency.room(calls, self._rows_in_flight)

    def _pause(self, seconds: float) -> None:
        """Go on after a while; calls wait for it together."""
        if not self._paused:
            self._paused = True
            self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._paused = False
        self._wake()

    def _called(self, call: _Call, task: asyncio.Task[None]) -> None:
        self._take_off(call)
        if not task.cancelled() and (error := task.exception()) is not None:
            fault("write_broken", "a write failed in a way it should not", error=error)
        if self._waiting:
            self._wake()

    def _take_off(self, call: _Call) -> asyncio.Task[None] | None:
        task = self._calls.pop(call, None)
        if task:
            self._rows_in_flight -= call.size
            self._metrics.writes_in_flight = len(self._calls)
        self._slow.discard(call)
        return task

    def _next_batch(self, now: float, room: int) -> tuple[list[_Entry], dict[Key, bytes]]:
        """Take entries with at most so many different keys; those of one key share a write, the last one's."""
        entries: list[_Entry] = []
        puts: dict[Key, bytes] = {}
        waiting, put = self._waiting, self._put
        in_time = now + min(self._concurrency.seconds, WRITE_MOST_SECONDS)
        while waiting and len(puts) < room:
            entry = waiting[0]
            if entry.alone and entries:
                break
            waiting.popleft()
            late = entry.request.deadline < in_time
            if late and not entry.over and not entry.repeated:
                entry.request.future.set_exception(Unavailable())  # it would be written, and nobody would wait for it
            if late or entry.over:
                self._metrics.queued -= 1
                continue
            entries.append(entry)
            puts[entry.key] = put(entry.row)
            if entry.alone:
                break
        return entries, puts

    async def _call(self, call: _Call) -> None:
        """Write rows, unless they are settled by others, which had to write them, too."""
        try:
            written = await self._write(call)
        except WriteError as error:
            if not call.repeated:
                self._failed(call, error)
        except BaseException:
            if not call.repeated:
                self._again(call.entries)
            raise
        else:
            if written:
                self._answered(call, written)
        finally:
            self._metrics.write_seconds.observe(self._loop.time() - call.started)
            if call.timer:
                call.timer.cancel()

    async def _write(self, call: _Call) -> Written | None:
        """What DynamoDB answers; None when the table has all of the rows already."""
        metrics, puts = self._metrics, call.puts
        metrics.batch_items.observe(len(puts))
        metrics.merged += len(call.entries) - len(puts)
        if (late := {entry.key for entry in call.entries if entry.row.late}) and not self._waiting:
            call.entries = await self._without_stored(call.entries, puts, late)
            if not call.entries:
                return None
        call.started = self._loop.time()
        call.timer = self._loop.call_later(SLOW_SECONDS, self._grew_slow, call)
        left_time = max([entry.request.deadline for entry in call.entries]) - call.started
        written = await self._writer.write(list(puts.values()), max(0.01, left_time))
        if written.left and not puts.keys() >= set(written.left):
            raise WriteError("BrokenAnswer")  # it speaks of rows that were not in the call
        return written

    def _answered(self, call: _Call, written: Written) -> None:
        now, left = self._loop.time(), set(written.left)
        if call.repeated:
            self._concurrency.took(written.seconds, now - call.started, call.calls, call.rows)
            self._store([entry for entry in call.entries if entry.key not in left])
            return
        self._concurrency.called(written.seconds, now - call.started, call.calls, call.rows)
        self._pace.count(len(call.puts) - len(left), call.share, now)
        if not left:
            self._settle(call.entries)
            return
        self._throttle.throttled(self._pace.per_second(now), now)
        again = [entry for entry in call.entries if entry.key in left]
        self._settle([entry for entry in call.entries if entry.key not in left])
        self._metrics.unprocessed += len(again)
        self._again(again)

    async def _without_stored(self, entries: list[_Entry], puts: dict[Key, bytes], late: set[Key]) -> list[_Entry]:
        """Settle late readings that the table has: written again, their row would get a new receipt and ttl.

        Rows are written unseen while more wait than one call takes, or while DynamoDB can't be asked.
        """
        if self._loop.time() < self._looks_from:
            return entries
        try:
            found = await self._writer.read(late, LOOK_TIMEOUT)
        except WriteError as error:
            self._looks_from = self._loop.time() + LOOK_AGAIN_SECONDS
            detail = "readings that may be stored already could not be looked up"
            fault("look_failed", detail, code=error.code, action="dynamodb:BatchGetItem")
            return entries
        stored = {key for key, item in found.items() if key in late and is_same_reading(puts[key], item)}
        for key in stored:
            del puts[key]
        self._metrics.redelivered += len(stored)
        self._settle([entry for entry in entries if entry.key in stored])
        return [entry for entry in entries if entry.key not in stored]

    def _grew_slow(self, call: _Call) -> None:
        self._slow.add(call)
        seconds = self._concurrency.repeat_after() - SLOW_SECONDS
        call.timer = self._loop.call_later(seconds, self._look_once_more, call)
        if self._waiting:
            self._wake()

    def _look_once_more(self, call: _Call) -> None:
        call.timer = self._loop.call_later(ANSWERS_SECONDS, self._repeat, call)

    def _repeat(self, call: _Call) -> None:
        """Have the rows of a call without an answer written by other calls, too."""
        call.repeated = True
        for entry in call.entries:
            entry.repeated = True
        if task := self._take_off(call):
            self._repeated.add(task)
            task.add_done_callback(self._repeated.discard)
        self._failed(call, WriteError("Timeout"))

    def _failed(self, call: _Call, error: WriteError) -> None:
        metrics, entries = self._metrics, call.entries
        metrics.write_failures[error.code] = metrics.write_failures.get(error.code, 0) + 1
        if error.throttled:
            metrics.throttled += 1
            now = self._loop.time()
            self._throttle.throttled(self._pace.per_second(now), now)
            self._again(entries)
        elif not error.refused:
            self._concurrency.failed(call.calls, call.rows)
            action = "dynamodb:BatchWriteItem"
            fault("write_failed", "a call to DynamoDB failed and is made again", code=error.code, action=action)
            self._again(entries)
        elif len({entry.key for entry in entries}) == 1:
            fault("item_refused", "DynamoDB refused an item", code=error.code)
            self._settle(entries, f"DynamoDB refused it: {error.code}")
        else:
            for entry in entries:
                entry.alone = True
            self._waiting.extendleft(reversed(entries))

    def _settle(self, entries: Sequence[_Entry], refusal: str | None = None) -> None:
        self._metrics.queued -= len(entries)
        self._store(entries, refusal)

    def _store(self, entries: Sequence[_Entry], refusal: str | None = None) -> None:
        for entry in entries:
            if entry.settled:
                continue
            entry.settled = True
            request = entry.request
            if refusal is not None:
                request.refusals[entry.index] = refusal
            request.left -= 1
            if not request.left and not request.future.done():
                request.future.set_result(request.refusals)

    def _again(self, entries: list[_Entry]) -> None:
        """Put entries back in front of the queue after a pause that is never the same."""
        over = [entry for entry in entries if entry.over]
        self._metrics.queued -= len(over)
        entries = [entry for entry in entries if not entry.over]
        if not entries:
            return
        self._metrics.retried += len(entries)
        self._loop.call_later(random.uniform(0, BACKOFF_SECONDS), self._return, entries)  # noqa: S311

    def _return(self, entries: list[_Entry]) -> None:
        self._waiting.extendleft(reversed(entries))
        self._wake()

    def _expire(self) -> None:
        """Fail the requests whose time is up; one timer for all costs less than one each."""
        now = self._loop.time()
        requests = self._requests
        while requests and (requests[0].future.done() or requests[0].deadline <= now):
            future = requests.popleft().future
            if not future.done():
                future.set_exception(Unavailable())
        while self._waiting and self._waiting[0].over:
            self._waiting.popleft()
            self._metrics.queued -= 1
        self._ticking = bool(requests)
        if requests:
            self._loop.call_later(DEADLINE_TICK, self._expire)
        if self._waiting:
            self._wake()
