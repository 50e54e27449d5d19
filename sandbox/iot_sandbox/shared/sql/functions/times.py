"""Times written by Joda-Time patterns, with the common pattern characters."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from iot_sandbox.shared.sql.evaluation import Context
from iot_sandbox.shared.sql.functions.registry import function
from iot_sandbox.shared.sql.values import UNDEFINED, Value, to_int, to_number

_LETTERS = re.compile(r"'(?:[^']|'')*'|([a-zA-Z])\1*|.", re.DOTALL)
_MONTHS = list(calendar.month_name)[1:]
_DAYS = list(calendar.day_name)


def zone(name: str) -> tzinfo | None:
    """A time zone by its id or as an offset (UTC+01:00); None for an unknown one."""
    offset = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d\d):?(\d\d)", name)
    if offset:
        minutes = int(offset[2]) * 60 + int(offset[3])
        return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    try:
        return UTC if name in ("Z", "UTC", "GMT") else ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _write(token: str, at: datetime) -> str:  # noqa: PLR0911
    width = len(token)
    numbers = {"d": at.day, "H": at.hour, "h": at.hour % 12 or 12, "m": at.minute, "s": at.second}
    match token[0]:
        case "'":
            return token[1:-1].replace("''", "'") or "'"
        case "y" | "Y" | "u":
            return f"{at.year % 100:02}" if width == 2 else f"{at.year:0{width}}"
        case "M":
            name = _MONTHS[at.month - 1]
            return f"{at.month:0{width}}" if width < 3 else name[:3] if width == 3 else name
        case "E":
            return _DAYS[at.weekday()] if width > 3 else _DAYS[at.weekday()][:3]
        case "S":
            return f"{at.microsecond:06}"[:width]
        case "a":
            return "AM" if at.hour < 12 else "PM"
        case "G":
            return "AD"
        case "z":
            return at.tzname() or ""
        case "Z":
            sign, rest = at.strftime("%z")[:1], at.strftime("%z")[1:]
            return sign + (rest if width == 1 else f"{rest[:2]}:{rest[2:]}")
        case letter if letter in numbers:
            return f"{numbers[letter]:0{width}}"
    return token


@function("parse_time", 2, 3)
def parse_time(context: Context, pattern: Value, epoch_ms: Value, zone_id: Value = "UTC") -> Value:
    """A time in ms since 1970, written by a pattern."""
    number, where = to_number(epoch_ms), zone(str(zone_id))
    if number is UNDEFINED or where is None:
        return UNDEFINED
    at = (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=to_int(number))).astimezone(where)
    return "".join(_write(match[0], at) for match in _LETTERS.finditer(str(pattern)))


_NAMES = {"M": _MONTHS, "E": _DAYS}
_READERS = {"y": "year", "u": "year", "d": "day", "H": "hour", "m": "minute", "s": "second"}


def _expression(pattern: str) -> str:
    """A regular expression for what a pattern writes."""
    parts = []
    for match in _LETTERS.finditer(pattern):
        token = match[0]
        letter, width = token[0], len(token)
        if letter == "'":
            parts.append(re.escape(token[1:-1].replace("''", "'") or "'"))
        elif letter in _NAMES and width > 2:
            names = "|".join(name if width > 3 else name[:3] for name in _NAMES[letter])
            parts.append(f"(?P<{letter}>{names})")
        elif letter == "S":
            parts.append(r"(?P<fraction>\d{1,9})")
        elif letter in "zVZX":
            parts.append(r"(?P<zone>[\w/+:-]+)")
        elif letter in _READERS:
            parts.append(rf"(?P<{_READERS[letter]}>\d{{{'1,2' if width == 1 else width}}})")
        elif letter == "M":
            parts.append(r"(?P<month>\d{1,2})")
        else:
            parts.append(re.escape(token))
    return "".join(parts)


@function("time_to_epoch", 2)
def time_to_epoch(context: Context, text: Value, pattern: Value) -> Value:
    """A written time in ms since 1970; Undefined if it does not fit the pattern."""
    found = re.fullmatch(_expression(str(pattern)), str(text))
    where = zone((found and found.groupdict().get("zone")) or "UTC")
    if not found or where is None:
        return UNDEFINED
    groups = found.groupdict()
    month = int(groups.get("month") or 1)
    if groups.get("M"):
        month = next(i for i, name in enumerate(_MONTHS, 1) if name.startswith(groups["M"]))
    numbers = {name: int(groups.get(name) or 0) for name in ("hour", "minute", "second")}
    micros = int((groups.get("fraction") or "0").ljust(6, "0")[:6])
    at = datetime(
        int(groups.get("year") or 1970), month, int(groups.get("day") or 1), **numbers,
        microsecond=micros, tzinfo=where,
    )  # fmt: skip
    return int(at.timestamp()) * 1000 + micros // 1000
