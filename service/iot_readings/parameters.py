"""What a request asks for: each parameter checked, and what is wrong with it said with the fix."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import time

import msgspec
from aiohttp import web

from iot_readings.measurements import Measurement
from iot_readings.readings import iso, milliseconds
from iot_readings.table import FIRST, LAST

_UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)?")
_ENDINGS = {"application/json": "json", "text/csv": "csv", "application/x-ndjson": "ndjson"}
LONGEST_ID = 128  # characters of a deviceId (the receiver takes no more)


class ParameterError(ValueError):
    """A parameter is wrong; the text names it and the fix."""


def only(request: web.Request, *names: str) -> None:
    """Refuse parameters that are not among `names`.

    Raises:
        ParameterError: naming those there are.
    """
    for name in request.query:
        if name not in names:
            raise ParameterError(f"there is no parameter {name!r}: there are {', '.join(names) or 'none'}")


def whole(request: web.Request, name: str, default: int, most: int) -> int:
    """A whole number from 1 to `most`.

    Raises:
        ParameterError: when it is none.
    """
    text = request.query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not 1 <= int(text) <= most:
        raise ParameterError(f"{name} must be a whole number from 1 to {most}")
    return int(text)


def one_of(request: web.Request, name: str, choices: Sequence[str]) -> str:
    """One of the choices, the first by default.

    Raises:
        ParameterError: when it is none.
    """
    text = request.query.get(name, choices[0])
    if text not in choices:
        raise ParameterError(f"{name} must be {' or '.join(choices)}")
    return text


def duration(request: web.Request, name: str) -> int | None:
    """Milliseconds of a duration such as 30s, 5m or 1h (a bare number is seconds); None when it is not given.

    Raises:
        ParameterError: when it is none.
    """
    text = request.query.get(name)
    if text is None:
        return None
    match = _DURATION.fullmatch(text)
    length = int(match[1]) * _UNITS[match[2] or "s"] if match else 0
    if not 1 <= length <= 366 * _UNITS["d"]:
        raise ParameterError(f"{name} must be a duration such as 30s, 5m, 1h or 1d, and at most 366d")
    return length


def moment(request: web.Request, name: str) -> int | None:
    """A time in milliseconds since 1970: RFC 3339, milliseconds since 1970, or so long ago, such as -2h.

    Raises:
        ParameterError: when it is none.
    """
    text = request.query.get(name)
    if text is None:
        return None
    match = _DURATION.fullmatch(text[1:]) if text.startswith("-") else None
    try:
        if match:
            value = int(time() * 1_000) - int(match[1]) * _UNITS[match[2] or "s"]
        elif re.fullmatch(r"[0-9]{1,15}", text, re.ASCII):
            value = int(text)
        else:
            value = milliseconds(text.replace(" ", "+"))  # a "+" that was not encoded
        iso(value)
    except (ValueError, OverflowError):
        raise ParameterError(
            f"{name} must be a time such as 2026-01-31T12:00:00Z, milliseconds since 1970, or a time ago such as -2h"
        ) from None
    return value


@dataclass(frozen=True, slots=True)
class Range:
    """A span of time as bounds of the sort key: from `lower`, below `upper`.

    Both end before the "Z" of a key, so that they hold for keys of any precision.
    """

    lower: str = FIRST
    upper: str = LAST


def span(request: web.Request) -> Range:
    """The parameters `from` (included) and `to` (not included), to the millisecond.

    Raises:
        ParameterError: when one is no time, or the range is empty.
    """
    first, end = moment(request, "from"), moment(request, "to")
    if first is not None and end is not None and first >= end:
        raise ParameterError("from must be earlier than to")
    return Range(FIRST if first is None else iso(first)[:-1], LAST if end is None else iso(end)[:-1])


def measured(request: web.Request, measurements: Sequence[Measurement]) -> list[Measurement]:
    """The measurements that are asked for, all by default.

    Raises:
        ParameterError: when there is none of a given name.
    """
    asked = request.query.getall("measurement", [])
    by_name = {each.name: each for each in measurements}
    for name in asked:
        if name not in by_name:
            raise ParameterError(f"measurement must be {' or '.join(by_name)}")
    return [by_name[name] for name in dict.fromkeys(asked)] or list(measurements)


def to_cursor(*parts: str) -> str:
    """Write where to go on."""
    return urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


def cursor(request: web.Request, parts: int) -> list[str] | None:
    """Read what `to_cursor` wrote; None when there is none.

    Raises:
        ParameterError: when nobody here wrote it.
    """
    text = request.query.get("cursor")
    if text is None:
        return None
    try:
        read: list[str] = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=list[str])
    except (ValueError, msgspec.DecodeError):
        read = []
    if len(read) != parts or len(text) > 4_000:
        raise ParameterError("cursor is broken: leave it out to begin again, or take next of the page before")
    return read


def accepted(request: web.Request, *kinds: str) -> str:
    """The kind of answer: parameter `format`, else the header Accept (RFC 9110, 12.5.1), else the first of `kinds`.

    Raises:
        ParameterError: when `format` is none of them.
        web.HTTPNotAcceptable: when Accept is.
    """
    if "format" in request.query:
        return one_of(request, "format", kinds)
    best, quality = "", 0.0
    for entry in ",".join(request.headers.getall("Accept", ["*/*"])).split(","):
        media, *rest = (part.strip().lower() for part in entry.split(";"))
        weight = 1.0
        for part in rest:
            if part.startswith("q="):
                weight = _quality(part[2:])
        if media in {"*/*", "application/*", "text/html", ""}:  # a browser's own Accept begins with text/html
            kind = kinds[0]
        else:
            kind = _ENDINGS.get("text/csv" if media == "text/*" else media, "")
        if kind in kinds and weight > quality:
            best, quality = kind, weight
    if not best:
        raise web.HTTPNotAcceptable(text=f"Accept must allow {' or '.join(_medias(kinds))}")
    return best


def _quality(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def _medias(kinds: Iterable[str]) -> list[str]:
    return [media for media, kind in _ENDINGS.items() if kind in kinds]


def device_id(request: web.Request) -> str:
    """The deviceId of the path.

    Raises:
        web.HTTPNotFound: when no device can have it.
    """
    name = request.match_info["device"]
    if len(name) > LONGEST_ID:
        raise web.HTTPNotFound(text="a deviceId has at most 128 characters")
    return name
