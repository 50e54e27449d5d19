"""Looks up which rows the table has already, so that a redrive neither doubles nor rewrites any."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from iot_receiver.rows import Row
from iot_receiver.times import iso_from_ms

KEYS = 100  # BatchGetItem's limit
TRACES = 50  # in one query; a filter takes 100 operands at most
AT_ONCE = 16  # calls in flight
# A dead letter is queued seconds after its message arrived, so that message's row is close to it in time.
AROUND_MS = 3_600_000

Key = tuple[str, str]
Identity = tuple[Key, bool]
T = TypeVar("T")


def identity(row: Row) -> Identity:
    """What a row is looked up by: its key, or its trace id (True) if the key does not follow from the message."""
    return ((row.device_id, row.time), False) if row.trace_id is None else ((row.device_id, row.trace_id), True)


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

    async def by_trace(self, device: str, traces: Mapping[str, int]) -> set[Key]:
        """Device and trace id of those rows of a device that are in the table.

        Args:
            traces: trace ids, each with the time when its dead letter was queued, in milliseconds since 1970.

        Raises:
            BotoCoreError, ClientError: when DynamoDB can't be asked.
        """
        return await self._gather(self._query(device, some) for some in _close(traces))

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

    async def _query(self, device: str, traces: Mapping[str, int]) -> set[Key]:
        """Look around the time of the dead letters first, then among the device's newest rows (1 MB of them).

        The second look finds rows of a device whose dead letters were moved between queues, which makes them seem
        newer than they are.
        """
        times = [iso_from_ms(min(traces.values()) - AROUND_MS), iso_from_ms(max(traces.values()) + AROUND_MS)]
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


def _close(traces: Mapping[str, int]) -> Iterable[dict[str, int]]:
    """Traces of one query each: close in time, so that dead letters days apart have no days of rows read."""
    some: dict[str, int] = {}
    for trace, sent_ms in sorted(traces.items(), key=lambda item: item[1]):
        if some and (len(some) == TRACES or sent_ms - next(iter(some.values())) > AROUND_MS):
            yield some
            some = {}
        some[trace] = sent_ms
    if some:
        yield some


def _chunks(values: Iterable[T], size: int) -> Iterable[list[T]]:
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk
