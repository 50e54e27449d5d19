"""Group commit: rows of many requests share calls to DynamoDB, and each request gets the outcome of its own rows.

A call is made as soon as there is a row and few calls are in flight, or enough rows for a full call; rows that
arrive meanwhile make up the next. So a lone row never waits for others, and a crowd fills its calls.
"""

import asyncio
import random
from collections import deque
from collections.abc import Sequence

import msgspec

from iot_receiver import admission
from iot_receiver.admission import CALM_SECONDS, Pace, Throttle
from iot_receiver.concurrency import Concurrency
from iot_receiver.dynamodb import ATTEMPT_TIMEOUT, BATCH_ITEMS, BatchWriter, Key, WriteError
from iot_receiver.logs import fault
from iot_receiver.metrics import Metrics
from iot_receiver.rows import Row, RowWriter, is_same_reading

IN_FLIGHT = 2  # calls in flight before the next has to be a full one: more would only make them emptier
SLOW_SECONDS = 0.1  # a call in flight for longer no longer counts
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


class Store:
    """Writes rows through a `BatchWriter`."""

    def __init__(self, writer: BatchWriter, rows: RowWriter, metrics: Metrics) -> None:
        self._writer = writer
        self._put = rows.put
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Entry] = deque()
        self._requests: deque[_Request] = deque()  # by deadline
        self._calls: dict[asyncio.Task[None], int] = {}  # rows of each
        self._slow: set[object] = set()  # calls in flight for longer than SLOW_SECONDS
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
        await asyncio.gather(*self._calls, return_exceptions=True)

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
            entries, puts = self._next_batch(now, room)
            if entries:
                self._throttle.sent(len(puts), now)
                self._rows_in_flight += len(puts)
                share, calls = len(puts) / room, len(self._calls) + 1
                call = self._loop.create_task(self._call(entries, puts, share, calls, self._rows_in_flight))
                self._calls[call] = len(puts)
                self._metrics.writes_in_flight = len(self._calls)
                call.add_done_callback(self._called)

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

    def _called(self, call: asyncio.Task[None]) -> None:
        self._rows_in_flight -= self._calls.pop(call)
        self._metrics.writes_in_flight = len(self._calls)
        if not call.cancelled() and (error := call.exception()) is not None:
            fault("write_broken", "a write failed in a way it should not", error=error)
        if self._waiting:
            self._wake()

    def _next_batch(self, now: float, room: int) -> tuple[list[_Entry], dict[Key, bytes]]:
        """Take entries with at most so many different keys; those of one key share a write, the last one's."""
        entries: list[_Entry] = []
        puts: dict[Key, bytes] = {}
        waiting, put = self._waiting, self._put
        in_time = now + min(self._concurrency.seconds, ATTEMPT_TIMEOUT)
        while waiting and len(puts) < room:
            entry = waiting[0]
            if entry.alone and entries:
                break
            waiting.popleft()
            request = entry.request
            if not request.future.done() and request.deadline < in_time:
                request.future.set_exception(Unavailable())  # it would be written, and nobody would wait for it
            if request.future.done():
                self._metrics.queued -= 1
                continue
            entries.append(entry)
            puts[entry.key] = put(entry.row)
            if entry.alone:
                break
        return entries, puts

    async def _call(self, entries: list[_Entry], puts: dict[Key, bytes], share: float, calls: int, rows: int) -> None:
        """Write rows, a share of what a call may carry, while so many calls and rows are in flight, these included."""
        metrics = self._metrics
        metrics.batch_items.observe(len(puts))
        metrics.merged += len(entries) - len(puts)
        if (late := {entry.key for entry in entries if entry.row.late}) and not self._waiting:
            entries = await self._without_stored(entries, puts, late)
            if not entries:
                return
        left_time = max([entry.request.deadline for entry in entries]) - self._loop.time()
        timeout = max(0.01, min(ATTEMPT_TIMEOUT, left_time))
        slow = self._loop.call_later(SLOW_SECONDS, self._grew_slow, batch_id := object())
        started = self._loop.time()
        try:
            written = await self._writer.write(list(puts.values()), timeout)
            left = set(written.left)
            if not puts.keys() >= left:
                raise WriteError("BrokenAnswer")  # it speaks of rows that were not in the call  # noqa: TRY301 - as any other
        except WriteError as error:
            if error.throttled:
                self._throttle.throttled(self._pace.per_second(self._loop.time()), self._loop.time())
            elif not error.refused:
                self._concurrency.failed(calls, rows)
            self._failed(entries, error)
        except BaseException:
            self._again(entries)
            raise
        else:
            now = self._loop.time()
            self._concurrency.called(written.seconds, now - started, calls, rows)
            self._pace.count(len(puts) - len(left), share, now)
            if left:
                self._throttle.throttled(self._pace.per_second(now), now)
            self._written(entries, left)
        finally:
            metrics.write_seconds.observe(self._loop.time() - started)
            slow.cancel()
            self._slow.discard(batch_id)

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

    def _grew_slow(self, batch_id: object) -> None:
        self._slow.add(batch_id)
        if self._waiting:
            self._wake()

    def _written(self, entries: list[_Entry], left: set[Key]) -> None:
        if not left:
            self._settle(entries)
            return
        again = [entry for entry in entries if entry.key in left]
        self._settle([entry for entry in entries if entry.key not in left])
        self._metrics.unprocessed += len(again)
        self._again(again)

    def _failed(self, entries: list[_Entry], error: WriteError) -> None:
        metrics = self._metrics
        metrics.write_failures[error.code] = metrics.write_failures.get(error.code, 0) + 1
        if error.throttled:
            metrics.throttled += 1
            self._again(entries)
        elif not error.refused:
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
        for entry in entries:
            request = entry.request
            if refusal is not None:
                request.refusals[entry.index] = refusal
            request.left -= 1
            if not request.left and not request.future.done():
                request.future.set_result(request.refusals)

    def _again(self, entries: list[_Entry]) -> None:
        """Put entries back in front of the queue after a pause that is never the same."""
        given_up = [entry for entry in entries if entry.request.future.done()]
        self._metrics.queued -= len(given_up)
        entries = [entry for entry in entries if not entry.request.future.done()]
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
        while self._waiting and self._waiting[0].request.future.done():
            self._waiting.popleft()
            self._metrics.queued -= 1
        self._ticking = bool(requests)
        if requests:
            self._loop.call_later(DEADLINE_TICK, self._expire)
        if self._waiting:
            self._wake()
