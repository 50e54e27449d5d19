"""Waiting for what comes about in another thread or process."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(holds: Callable[[], T], seconds: float = 15, otherwise: str = "", every: float = 0.02) -> T:
    """Call `holds` every so many seconds until it returns something true, and return that.

    Raises:
        AssertionError: nothing true came within the seconds; its message is `otherwise`.
    """
    end = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < end, f"not within {seconds} s: {otherwise or holds}"
        time.sleep(every)
    return found
