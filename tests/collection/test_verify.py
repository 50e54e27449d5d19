"""Role verify's comparison of what was sent with what is stored, and its look at the path."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from iot_verify import hops
from iot_verify.rows import Comparison, Sent, Stored, compare, complaint, devices, idle, percentile, silent, table

Aws = Callable[[str], Any]
START = 1_767_225_600.0


def sent(number: int) -> Sent:
    temperature = Decimal(20) + Decimal("0.01") * number
    return Sent(f"m{number}", f"2026-01-01T00:00:0{number}.000Z", temperature, START + number, True)


def stored(number: int, late: int = 5, **changes: Any) -> Stored:
    """The row of a reading, received `late` hundredths of a second after it was published."""
    row: dict[str, Any] = {
        "time": f"2026-01-01T00:00:0{number}.000Z#m{number}",
        "temperature": sent(number).temperature,
        "received_at": f"2026-01-01T00:00:0{number}.{late:02d}0Z",
    }
    return Stored(**(row | changes))


def test_all_there() -> None:
    outcome = compare("message_time", [sent(0), sent(1)], [stored(1, 30), stored(0, 10), stored(7)])
    assert outcome.whole
    assert table(outcome).splitlines() == [
        "published 2  stored 2  missing 0  duplicates 0  wrong 0",
        "latency   p50 100 ms  p95 300 ms, from device to IoT Core",
    ]


def test_a_latency_of_less_than_the_rows_resolution_is_not_none() -> None:
    assert "p50 under 1 ms  p95 under 1 ms" in table(compare("message_time", [sent(0)], [stored(0, 0)]))


def test_numbers_are_compared_by_value() -> None:
    assert compare("message_time", [sent(0)], [stored(0, temperature=Decimal("20.000"))]).whole


def test_a_missing_reading_is_named() -> None:
    outcome = compare("message_time", [sent(0), sent(1)], [stored(1)])
    assert (outcome.stored, outcome.missing, outcome.whole) == (1, ["m0"], False)
    assert "m0" in complaint(outcome)


def test_a_second_row_of_a_reading_is_a_duplicate_and_its_key_is_wrong() -> None:
    twice = [stored(0), stored(0, time="2026-01-01T00:00:09.000Z#m0")]
    outcome = compare("message_time", [sent(0)], twice)
    assert (outcome.stored, outcome.duplicates, len(outcome.wrong), outcome.whole) == (1, 1, 1, False)


def test_a_changed_value_is_wrong() -> None:
    outcome = compare("message_time", [sent(0)], [stored(0, temperature=Decimal("20.0001"))])
    assert outcome.wrong == ["m0: temperature 20.0001 instead of 20.00"]
    assert not outcome.whole


def test_nothing_published_is_no_success() -> None:
    assert not Comparison().whole
    assert complaint(Comparison()) == "nothing was published"


def test_rows_by_time_of_receipt_are_told_apart_by_value() -> None:
    rows = [stored(0, time="2026-01-01T00:00:00.100Z"), stored(1, time="2026-01-01T00:00:01.100Z")]
    assert compare("receipt_time", [sent(0), sent(1)], rows).whole
    again = [*rows, stored(1, time="2026-01-01T00:00:01.200Z")]
    assert compare("receipt_time", [sent(0), sent(1)], again).duplicates == 1


def test_clocks_that_disagree_give_no_negative_latency() -> None:
    early = stored(0, received_at="2025-12-31T23:59:59.900Z")
    assert compare("message_time", [sent(0)], [early]).latencies == [0.0]


def test_devices_without_a_recent_row_are_named() -> None:
    ages = {"edge-1": 0.8, "edge-20": 75.0, "e": None}
    assert devices(ages).splitlines() == [
        "edge-1    newest row 800 ms old",
        "edge-20   newest row 75.0 s old",
        "e         no row",
    ]
    assert silent(ages, 30) == ["edge-20", "e"]
    assert silent(ages, float("inf")) == ["e"]


@pytest.mark.parametrize(("share", "value"), [(0.5, 2), (0.95, 4), (0.25, 1), (1.0, 4)])
def test_percentiles_are_values_that_occurred(share: float, value: int) -> None:
    assert percentile([4, 1, 3, 2], share) == value


def test_a_ledger_line_is_read_exactly() -> None:
    line = '{"deviceId": "v", "messageId": "m", "ts": "t", "temp": 20.10, "published_at": 1.5, "acknowledged_at": 2}'
    read = Sent.of(json.loads(line, parse_float=Decimal))
    assert read == Sent("m", "t", Decimal("20.10"), 1.5, True)
    assert not Sent.of(json.loads(line.replace("acknowledged_at", "refused"))).acknowledged


@pytest.mark.parametrize(
    ("dead_letter", "words"),
    [
        ({"failures": [{"failedAction": "HttpAction", "errorMessage": "status code 422"}]}, "status code 422"),
        ({"reason": "temp: is missing"}, "temp: is missing"),
        ([1], "[1]"),
    ],
)
def test_dead_letters_tell_their_reason(dead_letter: Any, words: str) -> None:
    assert hops.reason(json.dumps(dead_letter)) == words
    assert hops.reason("no json") == "no json"


def test_the_first_broken_hop_is_the_verdict() -> None:
    path = [hops.Hop("broker", "took it"), hops.Hop("rule", "missing", "make it"), hops.Hop("receiver", "down", "up!")]
    lines = hops.report(path).splitlines()
    assert lines[0] == "The path ends at the rule: make it"
    assert lines[1:] == ["broker    ok  took it", "rule      -   missing", "receiver  -   down"]
    assert "receiver's log" in hops.report(path[:1])


@pytest.fixture(name="account")
def _account(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hops ask the emulated account, as the play's environment would have them."""
    names = {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-2", "AWS_DEFAULT_REGION": "us-east-2"}
    names |= {"AWS_ACCESS_KEY_ID": "AKIATESTSOFMODULES00", "AWS_SECRET_ACCESS_KEY": "x" * 40}
    for name, value in names.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("account")
def test_each_hop_is_looked_at_without_touching_it(aws: Aws) -> None:
    sqs = aws("sqs")
    queue = sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
    found = list(hops.look("", "no_such_rule", "https://127.0.0.1:9", "", [queue]))
    assert [(hop.name, hop.fault is None) for hop in found] == [
        ("broker", True),
        ("rule", False),
        ("destination", False),
        ("receiver", False),
        ("queue dead-letters", True),
    ]
    assert "--tags iot_core" in str(found[1].fault)
    sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"reason": "temp: is missing"}))
    assert "temp: is missing" in str(hops.dead_letters(queue).fault)
    assert "temp: is missing" in str(hops.dead_letters(queue).fault)  # still there


def test_what_the_publisher_says_is_the_brokers_fault() -> None:
    assert hops.broker("no connection to x: NOT_AUTHORIZED").fault == "no connection to x: NOT_AUTHORIZED"
    assert hops.broker("the broker took reading m, but after 15 s there is no row of it").fault is None


@pytest.mark.parametrize(
    ("ages", "notice"),
    [({}, "group edge has no host"),
     ({"edge-1": None, "edge-2": 90_000.0}, "none has stored a reading in the last day"),
     ({"edge-1": None, "edge-2": 80_000.0}, "")],
)  # fmt: skip
def test_a_fleet_that_publishes_nothing_is_reported(ages: dict[str, float | None], notice: str) -> None:
    assert idle(ages) == "" if not notice else notice in idle(ages)
