"""How fast a connection publishes."""

import random

import pytest
from iot_device.pace import Pace


def published(pace: Pace, start: float, seconds: float, pause: float) -> list[float]:
    """The instants of publishes when it is asked again and again, with pauses of up to `pause`."""
    rng, now = random.Random(7), start  # noqa: S311 - the same pauses every time
    instants: list[float] = []
    while now < start + seconds:
        while pace.delay(now) == 0.0 and len(instants) < 100_000:
            instants.append(now)
        now += rng.uniform(0.0001, pause)
    return instants


@pytest.mark.parametrize("limit", [100.0, 37.0, 2.0])
@pytest.mark.parametrize("pause", [0.005, 0.02, 0.9])
def test_no_second_sees_more_than_the_limit(limit: float, pause: float) -> None:
    instants = published(Pace(limit), 1000.0, 60, pause)
    for first in range(len(instants)):
        within = [one for one in instants[first : first + 300] if one < instants[first] + 1]
        assert len(within) <= limit


def test_the_limit_is_nearly_used() -> None:
    assert len(published(Pace(100), 50.0, 60, 0.01)) >= 60 * 95


@pytest.mark.parametrize("size", [1, 40, 400])
def test_no_second_sees_many_more_readings_than_their_limit(size: int) -> None:
    pace, now, sent = Pace(100, readings_limit=950), 50.0, 0
    while now < 110:
        delay = pace.delay(now, size)
        now += delay and max(delay, 0.001)
        sent += 0 if delay else size
    assert sent <= 60 * 950 + 95 + size
    assert sent >= 0.98 * 60 * min(950, 96 * size)


def test_no_limit_is_none() -> None:
    pace = Pace(0)
    assert all(pace.delay(1.0) == 0.0 for _ in range(10_000))
    assert not pace.slow(1.0)


def test_complaints_slow_it_down_and_it_recovers() -> None:
    pace = Pace(100)
    usual = len(published(pace, 100.0, 5, 0.01))
    assert pace.slow(105.0)
    assert not any(pace.slow(105.0 + step / 100) for step in range(50)), "one flood is one complaint"
    assert len(published(pace, 105.0, 1, 0.01)) < 0.6 * usual / 5
    for minute in range(10):
        pace.slow(110.0 + minute * 2)
    assert pace.rate >= 1
    pace.delay(131.0)
    assert len(published(pace, 250.0, 5, 0.01)) == pytest.approx(usual, rel=0.05)


def test_a_slow_device_may_publish_at_once() -> None:
    assert Pace(0.5).delay(10.0) == 0.0
