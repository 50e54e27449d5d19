"""The SQS action: https://docs.aws.amazon.com/iot/latest/developerguide/sqs-rule-action.html"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from iot_sandbox.rules.actions.base import Delivery, Failure
from iot_sandbox.rules.aws import Aws, AwsError


class SqsAction:
    """Sends to a queue under the rule's role."""

    kind = "sqs"

    def __init__(self, definition: Mapping[str, Any], aws: Aws, count: Callable[[str], None]) -> None:
        """Takes the API's SqsAction."""
        self._aws, self._count = aws, count
        self._role = definition["roleArn"]
        self._url = definition["queueUrl"]
        self._base64 = bool(definition.get("useBase64"))
        *_, account, name = urlsplit(self._url).path.split("/")
        self._arn = f"arn:aws:sqs:{aws.region}:{account}:{name}"

    async def run(self, delivery: Delivery) -> Failure | None:
        try:
            body = base64.b64encode(delivery.payload) if self._base64 else delivery.payload
            text = body.decode()
            await self._aws.run(lambda: self._send(text))
        except (AwsError, UnicodeDecodeError) as error:
            self._count("Failure")
            return Failure("SqsAction", self._url, f"Failed to send message to the queue. {error}")
        self._count("Success")
        return None

    def _send(self, text: str) -> None:
        client = self._aws.client_as(self._role, "sqs", "sqs:SendMessage", self._arn)
        client.send_message(QueueUrl=self._url, MessageBody=text)

    async def close(self) -> None:
        """There is no open work."""
