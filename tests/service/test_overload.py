"""Overload: what DynamoDB can take is delivered, the rest is refused at once, and all is well as soon as load falls.

The store works against a DynamoDB of known capacity, in virtual time, under senders that retry as IoT Core does.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
from iot_receiver.concurrency import CALLS_MOST
from iot_receiver.dynamodb import BatchWriter, Key, WriteError, Written
from iot_receiver.ingest import DEADLINE
from iot_receiver.measurements import DEFAULT
from iot_receiver.metrics import Metrics
from iot_receiver.rows import Row, RowWriter
from iot_receiver.store import Overloaded, Store, Unavailable

from tests.support.virtual import run

pytestmark = pytest.mark.usefixtures("deadline")  # of the receiver itself: time is virtual here
CAPACITY = 1_000.0  # rows a second


class DynamoDB:
    """Takes `capacity` rows a second, in one of several manners."""

    capacity = CAPACITY

    def __init__(self) -> None:
        self.writes: Counter[bytes] = Counter()  # how often each row was sent
        self.rows: set[bytes] = set()
        self.asked = 0
        self.loop = asyncio.get_running_loop()
        self.seed = random.Random(3)  # noqa: S311 - to be the same each time

    async def write(self, puts: Sequence[bytes], timeout: float) -> Written:  # noqa: ASYNC109 - the writer's own
        self.writes.update(puts)
        self.asked += len(puts)
        started = self.loop.time()
        try:
            async with asyncio.timeout(timeout):
                left = await self.take(list(puts))
                return Written(left, self.loop.time() - started)
        except TimeoutError:
            raise WriteError("Timeout") from None

    async def take(self, puts: list[bytes]) -> list[Key]:
        raise NotImplementedError

    def store(self, puts: list[bytes], taken: int) -> list[Key]:
        self.rows.update(puts[:taken])
        return [_key(put) for put in puts[taken:]]


class Slow(DynamoDB):
    """Works off one call after another; whoever comes waits for those before. What it has begun it ends."""

    latency = 0.001

    def __init__(self) -> None:
        super().__init__()
        self.free = 0.0

    async def take(self, puts: list[bytes]) -> list[Key]:
        self.free = max(self.free, self.loop.time()) + len(puts) / self.capacity
        at = self.free
        self.loop.call_at(at, self.store, puts, len(puts))
        await asyncio.sleep(at + self.latency - self.loop.time())
        return []


class Narrow(Slow):
    """Less than half of what one partition takes: a few calls in flight already wait for each other."""

    capacity = 400.0


class Narrower(Slow):
    """Takes nine full calls a second: what is asked in the first moments decides about the next seconds."""

    capacity = 225.0


class Slowest(Slow):
    """A full call takes a quarter of a second: with fewer rows in it, two of them are answered in time."""

    capacity = 100.0


class Slower(Slow):
    """Here an array of ten alone takes more than half of what a call may take, and is no reason for full calls."""

    capacity = 90.0


class Distant(Slow):
    """Works off one call after another, and each answer comes 250 ms later."""

    capacity = 4_000.0
    latency = 0.25


class Changing(Slow):
    """Its latency is another from a time of the loop on."""

    before, after, at = 0.0, 0.0, 0.0

    async def take(self, puts: list[bytes]) -> list[Key]:
        self.latency = self.before if self.loop.time() < self.at else self.after
        return await super().take(puts)


class Slowing(Changing):
    """Takes longer: as much as was in flight before is no longer enough."""

    capacity = 1_200.0
    before, after, at = 0.005, 0.2, 1.0


class Easing(Changing):
    """Answers at once, after a quiet time in which a call alone took long."""

    capacity = 400.0
    before, after, at = 0.3, 0.005, 2.0


class Sixty(Slow):
    """Never answers a full call in time."""

    capacity = 60.0


class Refusing(Slow):
    """Answers after 200 ms; one second long, its connections break at once."""

    capacity = 400.0
    latency = 0.2

    async def take(self, puts: list[bytes]) -> list[Key]:
        if 4 < self.loop.time() < 5:
            raise WriteError("ConnectionRefusedError")
        return await super().take(puts)


class Far(DynamoDB):
    """Answers each call after 300 ms, however many there are: what is in flight is what limits."""

    latency = 0.3
    capacity = CALLS_MOST * 25 / latency

    async def take(self, puts: list[bytes]) -> list[Key]:
        await asyncio.sleep(self.latency)
        return self.store(puts, len(puts))


class Farther(Far):
    """Answers each call after 650 ms: later than a lost one is made again, and in time."""

    latency = 0.65
    capacity = 32 * 25 / latency


class Unread(Far):
    """Takes no time; but a processor that is starved by the overload reads each answer 300 ms late."""

    async def write(self, puts: Sequence[bytes], timeout: float) -> Written:  # noqa: ASYNC109 - the writer's own
        return (await super().write(puts, timeout))._replace(seconds=0.001)

    async def take(self, puts: list[bytes]) -> list[Key]:
        await asyncio.sleep(0.001 if self.loop.time() < 1.9 else 0.3)
        return self.store(puts, len(puts))


class Workers(DynamoDB):
    """Works off four calls at a time, each in 100 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.workers = asyncio.Semaphore(4)

    async def take(self, puts: list[bytes]) -> list[Key]:
        async with self.workers:
            await asyncio.sleep(0.1)
            return self.store(puts, len(puts))


class Uneven(Workers):
    """Six calls at a time, whose times differ by half an order of magnitude: the fastest says little of the others."""

    median, sigma = 0.04, 0.5
    capacity = 6 * 25 / (median * math.exp(sigma**2 / 2))

    def __init__(self) -> None:
        super().__init__()
        self.workers = asyncio.Semaphore(6)

    async def take(self, puts: list[bytes]) -> list[Key]:
        async with self.workers:
            await asyncio.sleep(self.median * self.seed.lognormvariate(0, self.sigma))
            return self.store(puts, len(puts))


class Many(Uneven):
    """Ten calls at a time, whose times come close to what a call may take."""

    median = 0.135
    capacity = 10 * 25 / (median * math.exp(Uneven.sigma**2 / 2))

    def __init__(self) -> None:
        super().__init__()
        self.workers = asyncio.Semaphore(10)


class Tailed(Slow):
    """One of twenty answers comes 200 ms later than the others."""

    capacity = 400.0
    latencies, shares = (0.001, 0.2), (19, 1)

    async def take(self, puts: list[bytes]) -> list[Key]:
        self.latency = self.seed.choices(self.latencies, self.shares)[0]
        return await super().take(puts)


class LongTailed(Tailed):
    """One of ten answers comes 300 ms later than the others."""

    capacity = CAPACITY
    latencies, shares = (0.01, 0.3), (9, 1)


class TailedWorkers(Workers):
    """One of seven answers comes 200 ms later than the others."""

    async def take(self, puts: list[bytes]) -> list[Key]:
        left = await super().take(puts)
        await asyncio.sleep(self.seed.choices([0.0, 0.2], [6, 1])[0])
        return left


class Throttled(DynamoDB):
    """A table of provisioned capacity, its second's worth refilled steadily; leaves out what is beyond."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.at = self.capacity / 10, 0.0

    def refill(self) -> None:
        now = self.loop.time()
        self.tokens = min(self.capacity / 10, self.tokens + (now - self.at) * self.capacity)
        self.at = now

    async def take(self, puts: list[bytes]) -> list[Key]:
        await asyncio.sleep(self.seed.uniform(0.003, 0.008))
        self.refill()
        taken = min(len(puts), int(self.tokens))
        self.tokens -= taken
        if not taken:
            raise WriteError("ProvisionedThroughputExceededException")
        return self.store(puts, taken)


class Scattered(Throttled):
    """Takes its time, and leaves out items of all requests alike."""

    async def take(self, puts: list[bytes]) -> list[Key]:
        await asyncio.sleep(self.seed.uniform(0.02, 0.05))
        self.seed.shuffle(puts)
        return await super().take(puts)


class Small(Scattered):
    """A few write units, of which little is kept for later."""

    capacity = 250.0


class Shallow(Throttled):
    """Never has enough for a full call, and refuses as a whole what is beyond."""

    capacity = 250.0

    async def take(self, puts: list[bytes]) -> list[Key]:
        await asyncio.sleep(0.005)
        self.refill()
        self.tokens = min(self.tokens, 0.05 * self.capacity)
        if len(puts) > self.tokens:
            raise WriteError("ThrottlingException")
        self.tokens -= len(puts)
        return self.store(puts, len(puts))


class BySecond(Throttled):
    """Its capacity comes back at once at the start of each second."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = CAPACITY

    def refill(self) -> None:
        if int(self.loop.time()) != int(self.at):
            self.tokens, self.at = CAPACITY, self.loop.time()


def _key(put: bytes) -> Key:
    device, time = put.split(b'{"S":"')[1:3]
    return device.split(b'"')[0].decode(), time.split(b'"')[0].decode()


@dataclass
class Outcome:
    """What senders saw; times in seconds of the loop."""

    answered: list[tuple[float, int]] = field(default_factory=list)  # when, rows: of answers of 200
    seconds: list[float] = field(default_factory=list)  # that those took
    acknowledged: set[bytes] = field(default_factory=set)

    def rate(self, start: float, end: float) -> float:
        """Rows a second acknowledged between two times."""
        return sum(rows for at, rows in self.answered if start <= at < end) / (end - start)

    def slow(self) -> float:
        """The 99th percentile of their seconds."""
        return sorted(self.seconds)[int(0.99 * len(self.seconds))]

    def unacknowledged(self, table: DynamoDB) -> float:
        """The share of a table's rows whose senders do not know."""
        return len(table.rows - self.acknowledged) / len(table.rows)


class Senders:
    """An open loop of publishes, each tried three times at most within three seconds."""

    def __init__(self, store: Store, rows: int) -> None:
        self.store, self.rows, self.outcome = store, rows, Outcome()
        self.loop = asyncio.get_running_loop()
        self.seed = random.Random(7)  # noqa: S311 - to be the same each time
        self.encode = RowWriter(DEFAULT).put
        self.sent = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def send(self, rate: float, until: float) -> None:
        """Publish `rate` rows a second until a time of the loop."""
        while self.loop.time() < until:
            self.sent += 1
            task = self.loop.create_task(self.publish(self.sent))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            await asyncio.sleep(self.seed.expovariate(rate / self.rows))

    async def publish(self, number: int) -> None:
        rows = [Row(f"d{number}", f"t{place}", ("1",), "x") for place in range(self.rows)]
        given_up = self.loop.time() + 3
        for _ in range(3):
            started = self.loop.time()
            try:
                await self.store.submit(rows, started + DEADLINE)
            except (Overloaded, Unavailable):
                if self.loop.time() + 0.2 > given_up:
                    return
                await asyncio.sleep(0.1)
            else:
                self.outcome.answered.append((self.loop.time(), self.rows))
                self.outcome.seconds.append(self.loop.time() - started)
                self.outcome.acknowledged.update(self.encode(row) for row in rows)
                return


async def overload(
    kind: type[DynamoDB], rows: int, times: float, idle: float, lasts: float = 6
) -> tuple[DynamoDB, Outcome]:
    """`idle` seconds of 60 % load, six (or as it lasts) of `times` the capacity, then four of 60 %."""
    table, metrics = kind(), Metrics()
    senders = Senders(Store(cast(BatchWriter, table), RowWriter(DEFAULT), metrics), rows)
    await senders.send(0.6 * table.capacity, idle)
    await senders.send(times * table.capacity, idle + lasts)
    await senders.send(0.6 * table.capacity, idle + lasts + 4)
    await asyncio.sleep(4)
    assert not senders.tasks
    assert metrics.queued == 0
    return table, senders.outcome


@pytest.mark.parametrize("kind", [Slow, Far, Unread, Workers, Throttled, BySecond])
@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("times", [1.5, 2.0])
@pytest.mark.parametrize("idle", [0.0, pytest.param(2.0, marks=pytest.mark.long)])
def test_overload_does_not_outlast_itself(kind: type[DynamoDB], rows: int, times: float, idle: float) -> None:
    table, outcome = run(overload(kind, rows, times, idle))
    assert outcome.acknowledged <= table.rows  # 200 means stored
    assert outcome.rate(idle, idle + 6) >= 0.9 * table.capacity
    assert outcome.unacknowledged(table) <= 0.02
    assert table.asked / len(outcome.acknowledged) <= 2
    assert outcome.rate(idle + 8, idle + 10) >= 0.95 * 0.6 * table.capacity  # two seconds after its end
    assert outcome.slow() < 0.9


_LASTING = [(Uneven, 2.0, 6.0), (Slow, 2.0, 20.0), (Far, 2.0, 20.0), (Narrow, 2.0, 6.0), (Scattered, 2.0, 6.0)]
_LASTING += [(Tailed, 2.0, 12.0), (LongTailed, 2.0, 12.0), (TailedWorkers, 2.0, 12.0), (Slower, 2.0, 20.0)]
_COLD = [(kind, 0.0, 6.0) for kind in (Narrower, Many, Small)] + [(kind, 0.0, 12.0) for kind in (Slowest, Distant)]


@pytest.mark.long
@pytest.mark.parametrize(("kind", "idle", "lasts"), [*_LASTING, *_COLD])
@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("times", [1.5, 2.0])
def test_a_lasting_uneven_or_cold_overload_is_held_as_well(
    kind: type[DynamoDB], idle: float, lasts: float, rows: int, times: float
) -> None:
    table, outcome = run(overload(kind, rows, times, idle, lasts))
    assert outcome.acknowledged <= table.rows
    assert outcome.rate(idle, idle + lasts) >= 0.9 * table.capacity
    assert outcome.unacknowledged(table) <= 0.02
    assert table.asked / len(outcome.acknowledged) <= 2
    assert outcome.slow() < 0.9


@pytest.mark.parametrize("kind", [Slowing, Refusing, Easing])
@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("times", [1.5, 2.0])
def test_what_is_in_flight_follows_dynamodb(kind: type[DynamoDB], rows: int, times: float) -> None:
    table, outcome = run(overload(kind, rows, times, 2.0, 12.0))
    assert outcome.acknowledged <= table.rows
    assert outcome.rate(8, 14) >= 0.9 * table.capacity
    assert outcome.rate(16, 18) >= 0.7 * 0.6 * table.capacity  # of forty arrays, whose number varies
    assert outcome.slow() < 0.9


@pytest.mark.parametrize("times", [1.5, 2.0])
def test_a_call_carries_no_more_than_is_answered_in_time(times: float) -> None:
    table, outcome = run(overload(Sixty, 1, times, 2.0, 12.0))
    assert outcome.rate(2, 14) >= 0.9 * table.capacity
    assert outcome.unacknowledged(table) <= 0.02


@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("times", [1.5, 2.0])
def test_an_answer_counts_as_long_as_somebody_waits(rows: int, times: float) -> None:
    table, outcome = run(overload(Farther, rows, times, 2.0, 12.0))
    assert outcome.rate(8, 14) >= 0.9 * table.capacity
    assert outcome.unacknowledged(table) <= 0.02
    assert table.asked / len(outcome.acknowledged) <= 1.2
    assert outcome.slow() < 0.9


async def after_lone_rows() -> Outcome:
    """Three rows, one after another, then twenty a second."""
    senders = Senders(Store(cast(BatchWriter, Farther()), RowWriter(DEFAULT), Metrics()), 1)
    for number in range(3):
        await senders.publish(-number)
    await senders.send(20, 30)
    await asyncio.sleep(4)
    return senders.outcome


def test_a_lone_rows_late_answer_tells_how_long_calls_take() -> None:
    assert run(after_lone_rows()).rate(12, 30) >= 0.9 * 20


class Noisy(Uneven):
    """Takes 200 ms, and one call of fifteen more than half a second."""

    median, sigma = 0.2, 0.6
    capacity = 6 * 25 / (median * math.exp(sigma**2 / 2))


@pytest.mark.long
@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("times", [1.5, 2.0])
def test_calls_that_take_long_now_and_then_leave_the_others_in_flight(rows: int, times: float) -> None:
    table, outcome = run(overload(Noisy, rows, times, 2.0, 20.0))
    assert outcome.rate(4, 22) >= 0.85 * table.capacity
    assert outcome.unacknowledged(table) <= 0.02


@pytest.mark.parametrize("rows", [1, 10])
@pytest.mark.parametrize("times", [1.5, 2.0])
def test_a_throttled_call_carries_no_more_than_the_table_takes(rows: int, times: float) -> None:
    table, outcome = run(overload(Shallow, rows, times, 2.0))
    assert outcome.rate(2, 8) >= 0.75 * table.capacity  # each call that is refused as a whole wastes some of it
    assert outcome.rate(10, 12) >= 0.7 * 0.6 * table.capacity  # of thirty arrays, whose number varies
    assert table.asked / len(outcome.acknowledged) <= 2


class Near(Far):
    """Answers each call after 100 ms."""

    latency = 0.1


async def burst() -> Outcome:
    """Forty rows, one after another, then 300 at once."""
    senders = Senders(Store(cast(BatchWriter, Near()), RowWriter(DEFAULT), Metrics()), 1)
    for number in range(40):
        await senders.publish(number)
    await asyncio.gather(*(senders.publish(number) for number in range(40, 340)))
    return senders.outcome


def test_a_quiet_time_does_not_slow_the_next_burst_down() -> None:
    outcome = run(burst())
    assert len(outcome.seconds) == 340
    assert max(outcome.seconds) < 0.55


class Silent(DynamoDB):
    """Answers nobody."""

    async def take(self, puts: list[bytes]) -> list[Key]:
        await asyncio.sleep(60)
        return []


async def given_up_after() -> list[float]:
    """When requests are given up that have more or less time left, in whatever order they come."""
    loop = asyncio.get_running_loop()
    store = Store(cast(BatchWriter, Silent()), RowWriter(DEFAULT), Metrics())
    times = []
    waiting = [store.submit([Row(f"d{left}", "t", ("1",), "x")], left) for left in (2.0, 0.5, 1.0, 0.1)]
    for future in waiting:
        future.add_done_callback(lambda _: times.append(loop.time()))
    await asyncio.gather(*waiting, return_exceptions=True)
    return times


def test_a_request_that_was_read_late_is_answered_in_its_own_time() -> None:
    assert [round(seconds, 1) for seconds in run(given_up_after())] == [0.1, 0.5, 1.0, 2.0]


class Partly(DynamoDB):
    """Throttles three items of ten, as if a few devices wrote too much to their partitions."""

    async def take(self, puts: list[bytes]) -> list[Key]:
        await asyncio.sleep(0.005)
        left = [put for put in puts if self.seed.random() < 0.3]
        self.rows.update(put for put in puts if put not in left)
        return [_key(put) for put in left]


async def steady(rate: float) -> tuple[Senders, DynamoDB]:
    """Four seconds of load on it."""
    table = Partly()
    senders = Senders(Store(cast(BatchWriter, table), RowWriter(DEFAULT), Metrics()), 2)
    await senders.send(rate, 4)
    await asyncio.sleep(4)
    return senders, table


@pytest.mark.parametrize("rate", [150.0, 750.0])
def test_throttling_that_no_pace_can_help_slows_nobody_down(rate: float) -> None:
    senders, table = run(steady(rate))
    assert len(senders.outcome.answered) == senders.sent
    assert table.asked / len(senders.outcome.acknowledged) < 1.6
