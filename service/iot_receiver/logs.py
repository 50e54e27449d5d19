"""Logs: one JSON object a line, without secrets or payloads, and only a few lines for a repeated fault."""

import json
import logging
import sys
import time
import traceback
from typing import TextIO

from botocore.exceptions import ClientError

_LOGGER = logging.getLogger("iot_receiver")
LINES_PER_PERIOD = 5
PERIOD = 10.0  # seconds


def configure(level: str, stream: TextIO = sys.stdout) -> None:
    """Write everything from `level` up to `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(RateLimit())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    _LOGGER.setLevel(level)


def event(name: str, message: str, **fields: object) -> None:
    """Log something an operator wants to know."""
    _LOGGER.info(message, extra={"event": name, "fields": fields})


def fault(name: str, message: str, *, error: BaseException | None = None, **fields: object) -> None:
    """Log something that went wrong; `error` adds its type and where it arose, never its text.

    The text of an exception may hold what a request carried, the secret included.
    """
    _LOGGER.error(message, extra={"event": name, "fields": {**fields, **_described(error)}})


def _described(error: BaseException | None) -> dict[str, str]:
    if error is None:
        return {}
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
    described = {"error": type(error).__name__, "where": where}
    if isinstance(error, ClientError):  # what AWS refused, which a missing permission is found by
        described |= {"code": error.response.get("Error", {}).get("Code", ""), "operation": error.operation_name}
    return described


class JsonFormatter(logging.Formatter):
    """Formats our own records in full, and other libraries' without the arguments of their messages."""

    def format(self, record: logging.LogRecord) -> str:
        """Make the line."""
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if record.name == _LOGGER.name:
            line |= {"event": getattr(record, "event", ""), "message": record.getMessage()}
            line |= getattr(record, "fields", {})
        else:
            line["message"] = str(record.msg) if record.args else "(text withheld)"
            line |= _described(record.exc_info[1] if record.exc_info else None)
        if suppressed := getattr(record, "suppressed", 0):
            line["suppressed"] = suppressed
        return json.dumps(line, default=str)


class RateLimit(logging.Filter):
    """Lets a few lines of each kind pass in a period; the next one says how many were suppressed."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[tuple[str, str], list[float]] = {}  # period's start, lines in it

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record is written."""
        kind = (record.name, getattr(record, "event", "") or f"{record.filename}:{record.lineno}")
        now = time.monotonic()
        state = self._kinds.setdefault(kind, [now, 0])
        suppressed = 0
        if now - state[0] >= PERIOD:
            suppressed = max(0, int(state[1]) - LINES_PER_PERIOD)
            state[:] = [now, 0]
        state[1] += 1
        record.suppressed = suppressed
        return state[1] <= LINES_PER_PERIOD
