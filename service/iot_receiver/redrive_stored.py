"""Finds out which rows the table has already, so that a redrive neither doubles nor rewrites any."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

import msgspec

from iot_receiver.messages import Row
from iot_receiver.times import iso_from_ms

KEYS = 100  # BatchGetItem's limit
TRACES = 50  # in one query; a filter takes 100 operands at most
AT_ONCE = 16  # calls under way
# A letter is sent seconds after its message came, so a row of that message stands close to it in time.
AROUND_MS = 3_600_000

Key = tuple[str, str]
T = TypeVar("T")


class _Text(msgspec.Struct):
    S: str


class _Item(msgspec.Struct):
    trace_id: _Text | None = None


class _Put(msgspec.Struct, rename="pascal"):
    item: _Item


class _Write(msgspec.Struct, rename="pascal"):
    put_request: _Put


_decode = msgspec.json.Decoder(_Write).decode


def identity(row: Row) -> tuple[Key, bool]:
    """What a row is known by: device and trace id, if its key does not follow from the message (True), else its key."""
    trace = _decode(row.put).put_request.item.trace_id
    return ((row.device_id, row.time), False) if trace is None else ((row.device_id, trace.S), True)


class Stored:
    """Looks rows up in one table, by an aiobotocore client of DynamoDB."""

    def __init__(self, client: Any, table: str) -> None:
        self._client = client
        self._table = table
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def by_key(self, keys: Iterable[Key]) -> set[Key]:
        """Those of the keys that are in the table.

        Raises:
            BotoCoreError, ClientError: when DynamoDB can't be asked.
        """
        return await self._gather(self._get(some) for some in _chunks(keys, KEYS))

    async def by_trace(self, device: str, traces: Iterable[str], first_ms: int, last_ms: int) -> set[Key]:
        """Device and trace id of those rows of a device that are in the table.

        Args:
            first_ms, last_ms: when the first and the last letter were sent, in milliseconds since 1970.

        Raises:
            BotoCoreError, ClientError: when DynamoDB can't be asked.
        """
        times = [iso_from_ms(first_ms - AROUND_MS), iso_from_ms(last_ms + AROUND_MS)]
        return await self._gather(self._query(device, some, times) for some in _chunks(traces, TRACES))

    async def _gather(self, calls: Iterable[Any]) -> set[Key]:
        found = await asyncio.gather(*calls)
        return set().union(*found)

    async def _get(self, keys: Sequence[Key]) -> set[Key]:
        asked = [{"deviceId": {"S": device}, "Time": {"S": time}} for device, time in keys]
        request: dict[str, Any] = {
            self._table: {
                "Keys": asked,
                "ConsistentRead": True,
                "ProjectionExpression": "deviceId, #time",
                "ExpressionAttributeNames": {"#time": "Time"},
            }
        }
        found: set[Key] = set()
        pause = 0.05
        while request:
            async with self._turns:
                answer = await self._client.batch_get_item(RequestItems=request)
            found |= {(item["deviceId"]["S"], item["Time"]["S"]) for item in answer["Responses"].get(self._table, ())}
            if request := answer.get("UnprocessedKeys") or {}:
                await asyncio.sleep(pause)
                pause = min(1.0, pause * 2)
        return found

    async def _query(self, device: str, traces: Sequence[str], times: Sequence[str]) -> set[Key]:
        """Look around the letters' time first, then among the device's newest rows (1 MB of them).

        The second look finds rows of a device whose letters were moved between queues, which makes them
        seem newer than they are.
        """
        values = {f":t{place}": {"S": trace} for place, trace in enumerate(traces)}
        request: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": True,
            "KeyConditionExpression": "deviceId = :device",
            "FilterExpression": f"trace_id IN ({', '.join(values)})",
            "ProjectionExpression": "trace_id",
            "ExpressionAttributeValues": {":device": {"S": device}, **values},
        }
        around = {
            **request,
            "KeyConditionExpression": "deviceId = :device AND #time BETWEEN :first AND :last",
            "ExpressionAttributeNames": {"#time": "Time"},
            "ExpressionAttributeValues": {
                **request["ExpressionAttributeValues"],
                ":first": {"S": times[0]},
                ":last": {"S": times[1]},
            },
        }
        found: set[Key] = set()
        while True:
            async with self._turns:
                answer = await self._client.query(**around)
            found |= {(device, item["trace_id"]["S"]) for item in answer["Items"]}
            if "LastEvaluatedKey" not in answer:
                break
            around["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        if len(found) < len(traces):
            async with self._turns:
                answer = await self._client.query(**request, ScanIndexForward=False)
            found |= {(device, item["trace_id"]["S"]) for item in answer["Items"]}
        return found


def _chunks(values: Iterable[T], size: int) -> Iterable[list[T]]:
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
