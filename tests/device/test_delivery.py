"""What is sent when, and what follows from each answer, without a network."""

import json
import random
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from iot_device.delivery import Delivery
from iot_device.ledger import Ledger
from iot_device.pace import Pace
from iot_device.reasons import Refusal
from iot_device.spool import Spool

from tests.device.harness import degrees

Done = Callable[[Refusal | None], None]
LOST = Refusal("AWS_ERROR_MQTT5_OPERATION_FAILED_DUE_TO_OFFLINE_QUEUE_POLICY")
TOO_LARGE = Refusal("PACKET_TOO_LARGE", answered=True)
NOT_AUTHORIZED = Refusal("NOT_AUTHORIZED", answered=True)
UNSPECIFIED = Refusal("UNSPECIFIED_ERROR", answered=True)
QUOTA = Refusal("QUOTA_EXCEEDED", answered=True)


class Bench:
    """A delivery whose answers and time are the test's."""

    def __init__(self, folder: Path, window: int = 100, **packing: int) -> None:
        self.spool = Spool(folder / "spool.db")
        self.ledger = Ledger.at(folder / "ledger")
        self.delivery = Delivery(self.spool, "sensor-1", pace=Pace(0), ledger=self.ledger, wake=lambda: None,
                                 window=window, **packing)  # fmt: skip
        self.delivery.line = self
        self.connected = False
        self.sent: list[tuple[float, Done]] = []
        self.ever: list[float] = []
        self.now = time.monotonic()

    def publish(self, payload: str, done: Done) -> None:
        self.sent.append((json.loads(payload)["temp"], done))
        self.ever.append(self.sent[-1][0])

    def take(self, *temperatures: float) -> None:
        self.spool.take("sensor-1", [degrees("sensor-1", one) for one in temperatures])

    def connect(self) -> None:
        self.connected = True
        self.delivery.on_change(True, None)

    def disconnect(self, refusal: Refusal, pending: list[tuple[float, Done]]) -> None:
        self.connected = False
        self.delivery.on_change(False, refusal)
        self.pump()
        for _, done in pending:
            done(LOST)

    def pump(self) -> list[float]:
        """Return the temperatures that are sent now."""
        before = len(self.sent)
        self.delivery.pump(self.now)
        return [temperature for temperature, _ in self.sent[before:]]

    def answer(self, refusal: Refusal | None = None) -> None:
        """Answer all that is in flight."""
        for _, done in self.sent:
            done(refusal)
        self.sent.clear()

    def waiting(self) -> list[float]:
        self.spool.settle()
        return [json.loads(row.payload)["temp"] for row in self.spool.fetch("sensor-1", 0, self.spool.last, 1000)]


@pytest.fixture(name="bench")
def _bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_nothing_is_sent_without_a_connection(bench: Bench) -> None:
    bench.take(1, 2)
    assert bench.pump() == []
    bench.connect()
    assert bench.pump() == [1, 2]


def test_a_reading_leaves_the_spool_on_its_acknowledgement_only(bench: Bench) -> None:
    bench.take(1, 2)
    bench.connect()
    bench.pump()
    assert bench.waiting() == [1, 2]
    bench.sent.pop(0)[1](None)
    bench.pump()
    assert bench.waiting() == [2]
    assert bench.ledger.acknowledged == 1


def test_a_backlog_goes_oldest_first_and_fresh_readings_take_turns_with_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, window=4)
    bench.take(*range(10))
    bench.connect()
    assert bench.pump() == [0, 1, 2, 3]
    bench.take(100, 101, 102)
    order = []
    while bench.sent:
        bench.answer()
        order += bench.pump()
    assert order == [100, 4, 101, 5, 102, 6, 7, 8, 9]
    assert bench.waiting() == []
    assert bench.delivery.idle()


def test_readings_in_flight_when_the_connection_broke_are_sent_again_first(bench: Bench) -> None:
    bench.take(1, 2, 3)
    bench.connect()
    bench.pump()
    bench.sent.pop(0)[1](None)
    pending = list(bench.sent)
    bench.sent.clear()
    bench.disconnect(Refusal("AWS_ERROR_MQTT5_KEEP_ALIVE_EXPIRED"), pending)
    bench.take(4)
    bench.connect()
    assert bench.pump() == [2, 3, 4]
    bench.answer()
    bench.pump()
    assert bench.waiting() == []
    assert bench.ledger.acknowledged == 4


def test_one_that_timed_out_is_sent_again_while_others_go_on(bench: Bench) -> None:
    bench.connect()
    bench.take(1, 2, 3)
    bench.pump()
    _, done = bench.sent.pop(0)
    done(Refusal("AWS_ERROR_MQTT5_TIMEOUT"))
    bench.take(4)
    assert sorted(bench.pump()) == [1, 4]
    bench.answer()
    bench.pump()
    assert bench.waiting() == []
    assert bench.ledger.acknowledged == 4


def test_a_backlog_continues_while_the_acknowledged_are_still_on_the_disk(bench: Bench) -> None:
    """After a reconnect; and where one answer came late, as after the SDK's 30 s without one."""
    bench.take(*range(1000))
    bench.connect()
    for _ in range(3):
        bench.pump()
        bench.answer()
    bench.pump()
    assert len(bench.spool.settled) == 300
    pending, bench.sent = bench.sent, []
    bench.disconnect(Refusal("AWS_ERROR_MQTT5_KEEP_ALIVE_EXPIRED"), pending)
    bench.connect()
    assert bench.pump() == [*range(300, 400)]
    late = bench.sent.pop(0)[1]
    for _ in range(2):
        bench.answer()
        bench.pump()
    late(Refusal("AWS_ERROR_MQTT5_TIMEOUT"))
    while bench.sent:
        bench.answer()
        bench.pump()
    assert bench.waiting() == []
    assert bench.delivery.idle()
    assert sorted(bench.ever) == sorted([*range(1000), *range(300, 400), 300])


def test_an_answer_outlives_a_failing_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.take(1, 2)
    bench.connect()
    bench.pump()
    bench.sent[0][1](TOO_LARGE)
    bench.sent[1][1](None)
    with monkeypatch.context() as patched:
        patched.setattr(bench.spool, "quarantine", partial(fail, sqlite3.OperationalError("database or disk is full")))
        with pytest.raises(sqlite3.OperationalError):
            bench.pump()
    with monkeypatch.context() as patched:
        patched.setattr(bench.ledger, "_write", partial(fail, OSError("No space left on device")))
        with pytest.raises(OSError, match="space"):
            bench.pump()
    bench.pump()
    assert bench.waiting() == []
    assert bench.delivery.idle()
    assert (bench.ledger.acknowledged, bench.ledger.refused) == (1, {"PACKET_TOO_LARGE": 1})


def fail(error: Exception, *_: object) -> None:
    raise error


def test_every_reading_is_sent_once_whatever_the_order_of_answers(tmp_path: Path) -> None:
    bench = Bench(tmp_path, window=150)
    bench.take(*range(350))
    bench.connect()
    fresh = 1000
    while not bench.delivery.idle():
        bench.pump()
        if fresh < 1050:
            bench.take(fresh)
            fresh += 1
        half = bench.sent[1::2] or bench.sent
        bench.sent = [one for one in bench.sent if one not in half]
        for _, done in half:
            done(None)
        bench.spool.settle()
        bench.pump()
    assert fresh == 1050
    assert sorted(bench.ever) == [*range(350), *range(1000, 1050)]


def test_a_packet_that_is_too_large_is_quarantined_and_the_others_continue(bench: Bench) -> None:
    bench.take(1, 2, 3)
    bench.connect()
    bench.pump()
    refused = bench.sent.pop(1)
    refused[1](TOO_LARGE)
    bench.answer()
    bench.pump()
    assert bench.waiting() == []
    assert bench.spool.counters()["quarantined"] == 1
    assert bench.ledger.refused == {"PACKET_TOO_LARGE": 1}


def test_a_packet_on_which_the_broker_hangs_up_is_found(bench: Bench) -> None:
    """AWS hangs up without saying which one it was."""
    bench.take(1, 2, 3, 4)
    bench.connect()
    for _ in range(20):
        bench.pump()
        if not bench.sent:
            break
        if any(temperature == 3 for temperature, _ in bench.sent):
            pending = list(bench.sent)
            bench.sent.clear()
            bench.disconnect(TOO_LARGE, pending)
            bench.connect()
        else:
            bench.answer()
    assert bench.waiting() == []
    counters = bench.spool.counters()
    assert (counters["acknowledged"], counters["quarantined"]) == (3, 1)
    assert "PACKET_TOO_LARGE" in (bench.spool.why_quarantined(3) or "")
    bench.take(5, 6)
    assert bench.pump() == [5, 6], "and then all is as before"


def test_not_authorized_keeps_all_readings_and_tries_ever_less_often(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.take(1, 2, 3)
    bench.connect()
    bench.pump()
    pauses, tries = [], 0
    for _ in range(12):
        bench.answer(NOT_AUTHORIZED)
        pause = bench.delivery.pump(time.monotonic())
        assert pause > 0.3
        assert not bench.sent
        pauses.append(pause)
        bench.delivery._hold_until = 0.0  # as if that time had passed
        tries += len(bench.pump())
    assert tries == 12, "one try at a time"
    assert max(pauses) > 20
    assert max(pauses) <= 300
    assert bench.waiting() == [1, 2, 3]
    assert len([r for r in caplog.records if "waits in the spool" in r.message]) == 1
    assert bench.delivery.fault == NOT_AUTHORIZED
    bench.answer()
    bench.pump()
    bench.answer()
    bench.pump()
    assert bench.waiting() == []
    assert bench.delivery.fault is None


def test_quota_exceeded_slows_down_and_loses_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.delivery.pace = Pace(100)
    bench.take(1, 2)
    bench.connect()
    bench.pump()
    bench.answer(QUOTA)
    bench.pump()
    assert bench.delivery.pace.rate < 60
    assert bench.waiting() == [1, 2]
    for _ in range(20):
        bench.now += 1
        bench.pump()
        bench.answer()
    bench.pump()
    assert bench.waiting() == []


def test_one_that_the_broker_never_accepts_does_not_hold_up_the_others(bench: Bench) -> None:
    bench.take(*range(5))
    bench.connect()
    bench.pump()
    for _ in range(60):
        answered, bench.sent = bench.sent, []
        for temperature, done in answered:
            done(UNSPECIFIED if temperature == 2 else None)
        bench.delivery.pump(bench.now)
        bench.delivery._hold_until = 0.0
        bench.delivery.pump(bench.now)
    assert bench.waiting() == []
    assert bench.spool.counters()["quarantined"] == 1
    assert bench.spool.counters()["acknowledged"] == 4


def test_nothing_is_quarantined_while_the_broker_accepts_nothing(bench: Bench) -> None:
    bench.take(1, 2)
    bench.connect()
    for _ in range(40):
        bench.pump()
        bench.answer(UNSPECIFIED)
        bench.pump()
        bench.delivery._hold_until = 0.0
    assert bench.waiting() == [1, 2]


class Packs(Bench):
    """A bench that packs readings; `sent` holds the temperatures of each publish."""

    def __init__(self, folder: Path, **packing: int) -> None:
        super().__init__(folder, **({"pack_bytes": 5000} | packing))
        self.publishes: list[tuple[list[float], Done]] = []
        self.sizes: list[int] = []

    def publish(self, payload: str, done: Done) -> None:
        found = json.loads(payload)
        self.sizes.append(len(payload.encode()))
        readings = found if isinstance(found, list) else [found]
        self.publishes.append(([one["temp"] for one in readings], done))

    def send(self, refuse: Callable[[list[float]], Refusal | None] = lambda _: None) -> list[list[float]]:
        """Send what may be sent, answer it, and return the temperatures of each publish."""
        self.delivery._hold_until = 0.0
        self.pump()
        sent, self.publishes = self.publishes, []
        for temperatures, done in sent:
            done(refuse(temperatures))
        self.pump()
        return [temperatures for temperatures, _ in sent] + [temperatures for temperatures, _ in self.publishes]


def test_a_backlog_is_packed_below_a_metering_step_and_one_reading_goes_alone(tmp_path: Path) -> None:
    bench = Packs(tmp_path, window=5)
    bench.take(*range(1000))
    bench.connect()
    sent: list[float] = []
    while bench.delivery._packs or bench.waiting() or not sent:
        bench.delivery.pump(bench.now)
        publishes, bench.publishes = bench.publishes, []
        for temperatures, done in publishes:
            sent += temperatures
            done(None)
    assert sent == [*range(1000)]
    assert len(bench.sizes) <= 29
    assert max(bench.sizes) <= 5000
    bench.take(2000)
    assert bench.send() == [[2000]]
    assert bench.waiting() == []
    assert bench.ledger.acknowledged == 1001


def test_a_pack_stays_in_the_spool_whole_until_it_is_acknowledged(tmp_path: Path) -> None:
    bench = Packs(tmp_path)
    bench.take(1, 2, 3)
    bench.connect()
    bench.pump()
    [(temperatures, done)] = bench.publishes
    assert (temperatures, bench.waiting()) == ([1, 2, 3], [1, 2, 3])
    done(LOST)
    bench.publishes.clear()
    assert bench.send() == [[1, 2, 3]], "again, whole"
    assert bench.waiting() == []


def test_fresh_readings_are_in_the_next_pack_of_a_backlog(tmp_path: Path) -> None:
    bench = Packs(tmp_path, window=1)
    bench.take(*range(200))
    bench.connect()
    bench.pump()
    bench.take(1000, 1001)
    bench.publishes.pop()[1](None)
    bench.pump()
    assert {1000, 1001} <= set(bench.publishes[0][0])


@pytest.mark.parametrize("refusal", [TOO_LARGE, UNSPECIFIED, Refusal("PAYLOAD_FORMAT_INVALID", answered=True)])
def test_one_bad_reading_of_a_pack_is_found_and_the_others_arrive(refusal: Refusal, tmp_path: Path) -> None:
    bench = Packs(tmp_path)
    bench.take(*range(60))
    bench.connect()
    for turn in range(200):
        if turn % 3 == 0:
            bench.take(1000 + turn)
        bench.send(lambda temperatures: refusal if 7 in temperatures else None)
    bench.spool.settle()
    assert bench.waiting() == []
    counters = bench.spool.counters()
    assert (counters["quarantined"], counters["acknowledged"]) == (1, counters["taken"] - 1)
    assert bench.delivery._suspects == set()
    bench.take(1, 2)
    assert bench.send() == [[1, 2]], "packed again"


def test_a_pack_on_which_the_broker_hangs_up_is_tried_reading_by_reading(tmp_path: Path) -> None:
    bench = Packs(tmp_path)
    bench.take(*range(60))
    bench.connect()
    for _ in range(80):
        bench.pump()
        pending, bench.publishes = bench.publishes, []
        if any(7 in temperatures for temperatures, _ in pending):
            bench.disconnect(TOO_LARGE, [])
            for _, done in pending:
                done(LOST)
            bench.connect()
        else:
            for _, done in pending:
                done(None)
    assert bench.waiting() == []
    assert "PACKET_TOO_LARGE" in (bench.spool.why_quarantined(8) or "")
    assert bench.spool.counters()["quarantined"] == 1


def test_readings_wait_until_a_pack_is_complete_or_the_device_stops(tmp_path: Path) -> None:
    bench = Packs(tmp_path, pack=4)
    bench.connect()
    bench.take(1, 2, 3)
    assert bench.send() == []
    assert not bench.delivery.idle()
    bench.take(4)
    assert bench.send() == [[1, 2, 3, 4]]
    bench.take(5)
    assert bench.send() == []
    bench.delivery.flush()
    assert bench.send() == [[5]]
    bench.take(6)
    assert bench.send() == [], "a flush holds for what waits"


def test_a_ledger_that_fails_in_a_pack_counts_and_writes_each_reading_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Packs(tmp_path)
    bench.take(1, 2, 3)
    bench.connect()
    bench.pump()
    bench.publishes.pop()[1](None)
    with monkeypatch.context() as patched:
        patched.setattr(bench.ledger, "_write", partial(fail, OSError("No space left on device")))
        with pytest.raises(OSError, match="space"):
            bench.pump()
    bench.pump()
    assert bench.ledger.acknowledged == 3
    assert len((tmp_path / "ledger").read_text().splitlines()) == 3
    assert bench.waiting() == []


def test_a_broker_that_refuses_at_random_has_nothing_quarantined(tmp_path: Path) -> None:
    bench, rng = Packs(tmp_path, window=20), random.Random(1)  # noqa: S311 - the same refusals every time
    bench.take(*range(300))
    bench.connect()
    for _ in range(4000):
        bench.send(lambda _: UNSPECIFIED if rng.random() < 0.7 else None)
        if not bench.waiting():
            break
    assert bench.waiting() == []
    assert bench.spool.counters()["quarantined"] == 0
    assert bench.ledger.acknowledged == 300


def test_requeued_readings_are_sent_from_their_positions(bench: Bench) -> None:
    bench.take(1, 2, 3)
    bench.connect()
    bench.pump()
    bench.sent.pop(1)[1](TOO_LARGE)
    bench.answer()
    bench.pump()
    assert [one.seq for one in bench.spool.quarantined()] == [2]
    assert bench.spool.requeue(lambda reason: "QUOTA" in reason) == 0
    assert bench.spool.requeue() == 1
    bench.delivery.rewind()
    assert bench.pump() == [2]
    bench.answer()
    bench.pump()
    assert bench.waiting() == []
    count = bench.spool.counters()
    assert (count["quarantined"], count["acknowledged"], count["taken"]) == (0, 3, 3)
