"""The table, read by Query alone: signed, sent and decoded by hand like the receiver's writes, since a page of the
fleet is one Query for each of its devices. The tests hold it against the ordinary client.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import msgspec
from iot_receiver.connection import Server
from iot_receiver.credentials import Credentials
from iot_receiver.logs import fault
from iot_receiver.signature import Signer

CONNECT_TIMEOUT = 1.0  # seconds
ATTEMPT_TIMEOUT = 3.0  # seconds
ATTEMPTS = 3
CONNECTIONS = 64
PAGE_ROWS = 1_000  # rows of one Query: about 200 KiB
FIRST = "0000"  # below and above every sort key: keys begin with a year
LAST = "9999~"


class Unavailable(Exception):  # noqa: N818 - a state, not a fault
    """DynamoDB did not answer, or refused; the message is safe to show."""


class Value(msgspec.Struct, gc=False):
    """A value as DynamoDB writes it; of other types nothing is shown."""

    S: str | None = None
    N: str | None = None
    BOOL: bool | None = None


Item = dict[str, Value]


class _Key(msgspec.Struct, gc=False):
    time: Value = msgspec.field(name="Time")


class _Capacity(msgspec.Struct, gc=False):
    units: float = msgspec.field(name="CapacityUnits", default=0.0)


class _Answer(msgspec.Struct, gc=False, rename="pascal"):
    items: list[Item] = []
    last_evaluated_key: _Key | None = None
    consumed_capacity: _Capacity = msgspec.field(default_factory=_Capacity)


class _Fault(msgspec.Struct, gc=False):
    type: str = msgspec.field(default="", name="__type")


_decode = msgspec.json.Decoder(_Answer).decode
_decode_fault = msgspec.json.Decoder(_Fault).decode


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one Query, and the sort key after which the next one goes on, when there may be more."""

    items: list[Item]
    next: str | None


@dataclass(slots=True)
class Usage:
    """What reading costs.

    Attributes:
        queries: calls that were answered.
        units: read capacity units they consumed, by DynamoDB's own count.
        seconds: time of the last call.
        failures: calls that failed, by error.
        failing: the error of the last call; empty when it was answered.
    """

    queries: int = 0
    units: float = 0.0
    seconds: float = 0.0
    failures: dict[str, int] = field(default_factory=dict)
    failing: str = ""


class Table:
    """Queries one table; use within `async with`."""

    def __init__(
        self, url: str, region: str, name: str, credentials: Credentials, *, ca_bundle: str | None = None
    ) -> None:
        self._url = url.rstrip("/") + "/"
        self._signer = Signer(self._url, region, "dynamodb", "DynamoDB_20120810.Query")
        self._credentials = credentials
        self.name = name
        self.usage = Usage()
        self._server = Server(self._url, ca_bundle)
        self._turns = asyncio.Semaphore(CONNECTIONS)

    async def __aenter__(self) -> "Table":
        await self._server.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._server.__aexit__(None, None, None)

    async def query(
        self,
        device: str,
        lower: str = FIRST,
        upper: str = LAST,
        *,
        newest_first: bool = True,
        limit: int = PAGE_ROWS,
        after: str | None = None,
    ) -> Page:
        """Read at most `limit` rows of one device whose sort key is from `lower` to `upper`, after the key `after`.

        Raises:
            Unavailable: when three attempts failed.
        """
        values = {":d": {"S": device}, ":l": {"S": lower}, ":u": {"S": upper}}
        call: dict[str, Any] = {
            "TableName": self.name,
            "KeyConditionExpression": "deviceId = :d AND #t BETWEEN :l AND :u",
            "ExpressionAttributeNames": {"#t": "Time"},
            "ExpressionAttributeValues": values,
            "ScanIndexForward": not newest_first,
            "Limit": limit,
            "ReturnConsumedCapacity": "TOTAL",
        }
        if after is not None:
            call["ExclusiveStartKey"] = {"deviceId": {"S": device}, "Time": {"S": after}}
        body = msgspec.json.encode(call)
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(random.uniform(0.05, 0.1) * 2**attempt)  # noqa: S311 - jitter, no secret
            answer = await self._call(body)
            if isinstance(answer, _Answer):
                key = answer.last_evaluated_key
                return Page(answer.items, key.time.S if key else None)
        fault("table_unread", "the table can't be read", code=self.usage.failing, action="dynamodb:Query")
        raise Unavailable(f"DynamoDB could not be read: {self.usage.failing}")

    async def rows(
        self, device: str, lower: str, upper: str, *, newest_first: bool = True, after: str | None = None
    ) -> AsyncGenerator[Sequence[Item], None]:
        """All rows of a range, a page at a time; no more than one page is held."""
        while True:
            page = await self.query(device, lower, upper, newest_first=newest_first, after=after)
            yield page.items
            if page.next is None:
                return
            after = page.next

    async def _call(self, body: bytes) -> _Answer | None:
        """One attempt; None when it failed, with the reason in `usage`."""
        usage, credentials = self.usage, self._credentials.current
        if credentials is None:
            usage.failing = "no AWS credentials"
            return None
        async with self._turns:
            request = self._signer.request(body, credentials)
            started = perf_counter()
            try:
                answer = await self._server.ask(request, CONNECT_TIMEOUT, ATTEMPT_TIMEOUT)
                if answer.status == 200:
                    found = _decode(answer.body)
                    usage.queries += 1
                    usage.units += found.consumed_capacity.units
                    usage.seconds, usage.failing = perf_counter() - started, ""
                    return found
                failing = _decode_fault(answer.body).type.rsplit("#", 1)[-1] or f"HTTP {answer.status}"
            except (OSError, ValueError, RecursionError) as error:  # a TimeoutError is an OSError
                failing = type(error).__name__
        usage.failing = failing
        usage.failures[failing] = usage.failures.get(failing, 0) + 1
        return None
