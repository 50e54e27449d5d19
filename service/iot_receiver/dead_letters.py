"""Sends what is no reading to the dead-letter queue, with the reason, and counts what waits on such queues.

A dead letter of the receiver is a JSON object:

    source          "iot-receiver"
    reason          why the message is no reading
    receivedAt      time of receipt, UTC ISO-8601
    base64Message   the message's bytes: of an envelope, exactly what the device sent (of an array, the one reading)
    clientId        who published it, or null
    envelope        true when base64Message is the device's own; else it is what the rule forwarded
    traceId, iotReceivedAt, place    of an envelope: IoT Core's id and time (ms) of the publish; index in the array
"""

import asyncio
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError

from iot_receiver.logs import fault
from iot_receiver.messages import Rejection
from iot_receiver.metrics import Metrics
from iot_receiver.queues import Queue

BATCH_MESSAGES = 10  # SendMessageBatch's limits
BATCH_BYTES = 262_144
COUNT_SECONDS = 30.0
CONNECT_TIMEOUT = 0.3  # seconds
READ_TIMEOUT = 0.4


class NotQueued(Exception):  # noqa: N818
    """Not every message is on the queue."""


class DeadLetters:
    """Sends to one SQS queue, or nowhere; use within `async with`."""

    def __init__(self, session: AioSession, region: str, queue_url: str | None, rule_queue_url: str | None) -> None:
        self._session = session
        self._region = region
        self._queue_url = queue_url
        self._counted = {name: url for name, url in (("receiver", queue_url), ("rule", rule_queue_url)) if url}
        self._open = AsyncExitStack()
        self._client: Any = None

    async def __aenter__(self) -> "DeadLetters":
        if self._counted:
            config = AioConfig(
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT,
                retries={"mode": "standard", "total_max_attempts": 2},
            )
            client = self._session.create_client("sqs", region_name=self._region, config=config)
            self._client = await self._open.enter_async_context(client)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()

    def take(self, rejection: Rejection) -> bool:
        """Say whether the queue can take a message: there is a queue, and the message is not too large for it."""
        return self._queue_url is not None and len(rejection.message) * 4 // 3 + 1_000 < BATCH_BYTES

    async def send(self, rejections: Sequence[Rejection], received_at: str, deadline: float) -> None:
        """Send messages that `take` accepts to the queue by `deadline` (the event loop's time).

        Raises:
            NotQueued: when one or more did not get there.
        """
        batches: list[list[str]] = []
        try:
            async with asyncio.timeout_at(deadline):
                for batch in _batches(_dead_letter(each, received_at) for each in rejections):
                    batches.append(batch)
                    await asyncio.sleep(0)  # there may be thousands, and others wait
                await asyncio.gather(*(self._send(batch) for batch in batches))
        except (BotoCoreError, ClientError, OSError) as error:  # a TimeoutError is an OSError
            fault("dead_letter_failed", "the dead-letter queue can't be reached", error=error)
            raise NotQueued from error

    async def watch(self, metrics: Metrics) -> None:
        """Count what waits on the receiver's queue and on the rule's, for ever."""
        logged: set[str] = set()  # queues whose fault is logged already
        while self._counted:
            for name, url in self._counted.items():
                try:
                    metrics.dead_letters[name] = await Queue(self._client, url).count()
                    logged.discard(name)
                except Exception as error:  # noqa: BLE001 - SQS may answer anything; the next round asks again
                    metrics.dead_letters.pop(name, None)  # an outdated number would pass for the current one
                    if name not in logged:
                        fault(
                            "dead_letters_uncounted",
                            "the dead letters on a queue can't be counted",
                            error=error,
                            queue=name,
                        )
                    logged.add(name)
            await asyncio.sleep(COUNT_SECONDS)

    async def _send(self, batch: Sequence[str]) -> None:
        entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(batch)]
        answer = await self._client.send_message_batch(QueueUrl=self._queue_url, Entries=entries)
        taken = {result["Id"] for result in answer.get("Successful", ())}
        if not taken.issuperset(entry["Id"] for entry in entries):
            code = next((result.get("Code") for result in answer.get("Failed", ())), "")
            fault("dead_letter_failed", "SQS did not take a message", code=code)
            raise NotQueued


def _dead_letter(rejection: Rejection, received_at: str) -> str:
    content: dict[str, Any] = {
        "source": "iot-receiver",
        "reason": rejection.reason,
        "receivedAt": received_at,
        "clientId": rejection.client_id,
        "base64Message": b64encode(rejection.message).decode(),
    }
    if (envelope := rejection.source.envelope) is not None:
        content |= {
            "envelope": True,
            "traceId": envelope.iot_trace_id,
            "iotReceivedAt": envelope.iot_received_at,
            "place": rejection.source.place,
        }
    return msgspec.json.encode(content).decode()


def _batches(dead_letters: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for each in dead_letters:
        if batch and (len(batch) == BATCH_MESSAGES or size + len(each) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += len(each)
    if batch:
        yield batch
