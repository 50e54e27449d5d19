"""The dead letters of one SQS queue, taken in rounds; each is deleted or given back by who takes it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iot_receiver.logs import fault

BATCH = 10  # SQS's limit for one call
CALLS = 10  # under way at once, so a round has at most 100 letters
VISIBILITY_SECONDS = 60  # for which a taken letter is hidden: longer than a round, short for who waits after a crash
HIDDEN_SECONDS = 900  # for which a kept one is, so that it is not met again and again in one run
WAIT_SECONDS = 1  # long polling asks all of SQS's servers; short polling may overlook letters


@dataclass(slots=True, eq=False)
class Letter:
    """One dead letter as SQS delivers it; `sent_ms` is in milliseconds since 1970."""

    id: str
    handle: str
    body: str
    sent_ms: int


class Queue:
    """A queue, by an aiobotocore client of SQS. Every method may raise BotoCoreError or ClientError."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url
        self._calls = 1

    async def take(self) -> list[Letter]:
        """Receive letters, more at once while there are plenty; none after WAIT_SECONDS without any."""
        answers = await asyncio.gather(*(self._receive() for _ in range(self._calls)))
        plenty = all(len(letters) == BATCH for letters in answers)
        self._calls = min(CALLS, self._calls * 2) if plenty else max(1, self._calls // 2)
        return [letter for letters in answers for letter in letters]

    async def delete(self, letters: Sequence[Letter]) -> None:
        """Delete letters; one that SQS does not delete comes back, and is then found to be stored already."""
        await self._batched("delete_message_batch", letters)

    async def hide(self, letters: Sequence[Letter], seconds: int) -> None:
        """Have letters come back after `seconds`; 0 gives them back at once."""
        await self._batched("change_message_visibility_batch", letters, VisibilityTimeout=seconds)

    async def count(self) -> int:
        """How many letters there are, hidden ones included; SQS's number may be a minute old."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = await self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)
        return sum(int(answer["Attributes"].get(name, 0)) for name in names)

    async def _receive(self) -> list[Letter]:
        answer = await self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=BATCH,
            VisibilityTimeout=VISIBILITY_SECONDS,
            WaitTimeSeconds=WAIT_SECONDS,
            AttributeNames=["SentTimestamp"],
        )
        return [
            Letter(
                message["MessageId"],
                message["ReceiptHandle"],
                message["Body"],
                int(message["Attributes"]["SentTimestamp"]),
            )
            for message in answer.get("Messages", ())
        ]

    async def _batched(self, operation: str, letters: Sequence[Letter], **members: object) -> None:
        batches = [letters[start : start + BATCH] for start in range(0, len(letters), BATCH)]
        for start in range(0, len(batches), CALLS):
            await asyncio.gather(*(self._batch(operation, batch, members) for batch in batches[start : start + CALLS]))

    async def _batch(self, operation: str, letters: Sequence[Letter], members: dict[str, object]) -> None:
        entries = [
            {"Id": str(place), "ReceiptHandle": letter.handle, **members} for place, letter in enumerate(letters)
        ]
        answer = await getattr(self._client, operation)(QueueUrl=self._url, Entries=entries)
        if failed := answer.get("Failed"):
            fault("letter_not_settled", f"SQS refused {operation} for some letters", code=failed[0].get("Code"))
