"""An SQS queue with dead letters: taken in rounds, then deleted or given back."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iot_receiver.logs import fault

BATCH = 10  # SQS's limit for one call
CALLS = 10  # in flight at once, so a round has at most 100 messages
VISIBILITY_SECONDS = 60  # for which a received message is hidden: longer than a round, and a short wait after a crash
HIDDEN_SECONDS = 900  # for which a kept message is hidden, so that one run does not receive it again and again
WAIT_SECONDS = 1  # long polling asks all of SQS's servers; short polling may overlook messages


@dataclass(slots=True, eq=False)
class QueuedMessage:
    """One message as SQS delivers it; `sent_ms` is in milliseconds since 1970."""

    id: str
    handle: str
    body: str
    sent_ms: int


class Queue:
    """A queue, through an aiobotocore client of SQS. Every method may raise BotoCoreError or ClientError."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url
        self._calls = 1

    async def take(self) -> list[QueuedMessage]:
        """Receive messages, more at once while there are plenty; none after WAIT_SECONDS without any."""
        answers = await asyncio.gather(*(self._receive() for _ in range(self._calls)))
        plenty = all(len(messages) == BATCH for messages in answers)
        self._calls = min(CALLS, self._calls * 2) if plenty else max(1, self._calls // 2)
        return [message for messages in answers for message in messages]

    async def delete(self, messages: Sequence[QueuedMessage]) -> None:
        """Delete messages; one that SQS does not delete comes back, and is then found to be stored already."""
        await self._batched("delete_message_batch", messages)

    async def hide(self, messages: Sequence[QueuedMessage], seconds: int) -> None:
        """Hide messages for `seconds`; 0 gives them back at once."""
        await self._batched("change_message_visibility_batch", messages, VisibilityTimeout=seconds)

    async def count(self) -> int:
        """The number of messages, hidden ones included; SQS's number may be a minute old."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = await self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)
        return sum(int(answer["Attributes"].get(name, 0)) for name in names)

    async def _receive(self) -> list[QueuedMessage]:
        answer = await self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=BATCH,
            VisibilityTimeout=VISIBILITY_SECONDS,
            WaitTimeSeconds=WAIT_SECONDS,
            AttributeNames=["SentTimestamp"],
        )
        return [
            QueuedMessage(
                message["MessageId"],
                message["ReceiptHandle"],
                message["Body"],
                int(message["Attributes"]["SentTimestamp"]),
            )
            for message in answer.get("Messages", ())
        ]

    async def _batched(self, operation: str, messages: Sequence[QueuedMessage], **members: object) -> None:
        batches = [messages[start : start + BATCH] for start in range(0, len(messages), BATCH)]
        for start in range(0, len(batches), CALLS):
            await asyncio.gather(*(self._batch(operation, batch, members) for batch in batches[start : start + CALLS]))

    async def _batch(self, operation: str, messages: Sequence[QueuedMessage], members: dict[str, object]) -> None:
        entries = [
            {"Id": str(place), "ReceiptHandle": message.handle, **members} for place, message in enumerate(messages)
        ]
        answer = await getattr(self._client, operation)(QueueUrl=self._url, Entries=entries)
        if failed := answer.get("Failed"):
            fault("message_not_settled", f"SQS refused {operation} for some messages", code=failed[0].get("Code"))
