"""Instants of messages and of receipt, as the text that rows are keyed by.

Everything is UTC ISO-8601 with milliseconds, so text order is time order.
"""

import math
import re
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, DecimalException
from functools import lru_cache
from typing import NamedTuple

from iot_receiver.numbers import DYNAMODB_NUMBER

# RFC 3339, section 5.6: date, "T" or a space, time, fraction, and always an offset.
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - all arithmetic here is in UTC, without an offset to carry
_EARLIEST_MS = (datetime.min - _EPOCH) // timedelta(milliseconds=1)  # noqa: DTZ901
_LATEST_MS = (datetime.max - _EPOCH) // timedelta(milliseconds=1)  # noqa: DTZ901
_LONGEST_TEXT = 64  # an RFC 3339 instant with 38 digits of fraction; anything longer is not a clock's

# A reading may be late (a backlog) but hardly early: anything outside is a wrong clock.
AHEAD_SECONDS = 300
BEHIND_SECONDS = 86_400
FRESH_SECONDS = 1  # between a reading's own time and its arrival: too soon for a device to have sent it before
# A number in this range can only be seconds: as milliseconds it would be of the years 1970 to 1973.
_SECONDS = Decimal(10**9), Decimal(10**11)


FromNumber = Callable[[Decimal], "Instant"]


class Instant(NamedTuple):
    """A moment: `iso` to the millisecond (rounded down) and the digits beyond it, without trailing zeros."""

    iso: str
    finer: str


def as_key(raw: bytes) -> str | None:
    """A JSON text that is the key's form of an instant already, as our own publisher writes it; else None."""
    if len(raw) == 26 and raw[20] == 46 and raw[24:] == b'Z"' and raw[21:24].isdigit() and _is_second(raw[1:20]):
        return raw[1:25].decode()
    return None


def from_text(text: str) -> Instant:
    """Read an RFC 3339 instant; one written in any offset, or with any number of digits, is the same.

    Raises:
        ValueError: with the reason, when it is not one.
    """
    match = _RFC3339.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if match is None:
        raise ValueError("is not an RFC 3339 time with an offset, such as 2026-01-31T12:00:00.000Z")
    year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = match.groups()
    offset = timedelta(hours=int(offset_hours or 0), minutes=int(offset_minutes or 0))
    leap = second == "60"
    try:
        moment = datetime(  # noqa: DTZ001
            int(year), int(month), int(day), int(hour), int(minute), 59 if leap else int(second)
        )
        moment = moment + offset if sign == "-" else moment - offset
        if leap:
            moment += timedelta(seconds=1)
    except (ValueError, OverflowError):
        raise ValueError("is not a time that exists") from None
    if leap and (moment.hour, moment.minute) != (0, 0):  # leap seconds end a UTC day
        raise ValueError("is not a time that exists")
    digits = (fraction or "").ljust(3, "0")
    return Instant(f"{moment.isoformat()}.{digits[:3]}Z", digits[3:].rstrip("0"))


@lru_cache(maxsize=4_096)  # many readings share a second
def _is_second(raw: bytes) -> bool:
    """Say whether this is a second that exists, written as the keys are."""
    try:
        text = raw.decode()
        return datetime.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def from_epoch(milliseconds: Decimal) -> Instant:
    """Read milliseconds since 1970, of any precision.

    Raises:
        ValueError: outside the years 1 to 9999.
    """
    if not _EARLIEST_MS <= milliseconds <= _LATEST_MS:
        raise ValueError("is not a time in milliseconds since 1970 within the years 1 to 9999")
    whole = math.floor(milliseconds)
    try:
        finer = DYNAMODB_NUMBER.subtract(milliseconds, Decimal(whole))
    except DecimalException:
        raise ValueError("has more than 38 digits") from None
    digits = format(finer, "f")[2:].rstrip("0") if finer else ""
    return Instant(iso_from_ms(whole), digits)


def from_number(number: Decimal) -> Instant:
    """Read what a device sends as a number: seconds when it can be nothing else, milliseconds otherwise.

    Raises:
        ValueError: outside the years 1 to 9999.
    """
    return from_epoch(number.scaleb(3, DYNAMODB_NUMBER) if _SECONDS[0] <= number <= _SECONDS[1] else number)


def iso_from_ms(milliseconds: int) -> str:
    """Format milliseconds since 1970 as UTC ISO-8601."""
    return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds") + "Z"


def ms_from_iso(iso: str) -> int:
    """Milliseconds since 1970 of an `Instant.iso`."""
    return (datetime.fromisoformat(iso[:-1]) - _EPOCH) // timedelta(milliseconds=1)


class Receipt(NamedTuple):
    """The time of receipt, and between which two times a message's own is believed."""

    iso: str
    epoch: int
    earliest: str
    latest: str


class Arrival(NamedTuple):
    """When IoT Core received a message, and the seconds between which its own time is that of a fresh reading."""

    iso: str
    epoch: int
    fresh_from: str
    fresh_before: str


def arrival(milliseconds: int) -> Arrival:
    """An arrival at so many milliseconds since 1970.

    Raises:
        OverflowError: outside the years 1 to 9999.
    """
    second = milliseconds // 1_000
    prefix, fresh_from, fresh_before = _around(second)
    return Arrival(f"{prefix}.{milliseconds % 1_000:03d}Z", second, fresh_from, fresh_before)


@lru_cache(maxsize=64)
def _around(second: int) -> tuple[str, str, str]:
    moment = _EPOCH + timedelta(seconds=second)
    step = timedelta(seconds=FRESH_SECONDS)
    return moment.isoformat(), (moment - step).isoformat(), (moment + step + timedelta(seconds=1)).isoformat()


class Clock:
    """Gives times of receipt; the parts that change once a second are made once a second.

    Args:
        ahead, behind: how far a message's own time may be off receipt and still be believed, in seconds.
    """

    def __init__(self, ahead: float = AHEAD_SECONDS, behind: float = BEHIND_SECONDS) -> None:
        self._ahead = timedelta(seconds=ahead)
        self._behind = timedelta(seconds=behind)
        self._second = -1
        self._prefix = self._earliest = self._latest = ""
        self._last_us = 0
        self._process = f"{secrets.randbelow(10**9):09d}"  # two pods' microseconds may be the same

    def receipt(self) -> Receipt:
        """The time now."""
        now = time.time_ns()
        second = now // 1_000_000_000
        if second != self._second:
            moment = datetime.fromtimestamp(second, UTC).replace(tzinfo=None)
            self._second = second
            self._prefix = moment.isoformat()
            self._earliest, self._latest = self._bounds(moment)
        milliseconds = now // 1_000_000 % 1_000
        return Receipt(f"{self._prefix}.{milliseconds:03d}Z", second, self._earliest, self._latest)

    def receipt_at(self, milliseconds: int) -> Receipt:
        """What `receipt` gave at a time in the past, in milliseconds since 1970."""
        moment = _EPOCH + timedelta(milliseconds=milliseconds)
        return Receipt(iso_from_ms(milliseconds), milliseconds // 1_000, *self._bounds(moment))

    def unique(self) -> str:
        """The time now, never the same twice: microseconds, and nine digits of this process's own."""
        self._last_us = max(time.time_ns() // 1_000, self._last_us + 1)
        moment = _EPOCH + timedelta(microseconds=self._last_us)
        return f"{moment.isoformat(timespec='microseconds')}{self._process}Z"

    def _bounds(self, moment: datetime) -> tuple[str, str]:
        earliest = moment - min(self._behind, moment - datetime.min)  # noqa: DTZ901 - in UTC, as all of it
        latest = moment + min(self._ahead, datetime.max - moment)  # noqa: DTZ901
        return f"{earliest.isoformat(timespec='milliseconds')}Z", f"{latest.isoformat(timespec='milliseconds')}Z"
