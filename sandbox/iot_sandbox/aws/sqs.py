"""SQS that stays fast with long queues.

For each message that it delivers, moto works out all attributes of the queue, counts of its messages among them: ten
messages of a queue of 2,500 take a second and a half, and a redrive that asks for more at once is answered too late.
"""

from __future__ import annotations

import time
from types import ModuleType

from moto.sqs import models, urls
from moto.sqs.models import Message, SQSBackend


class SandboxSQSBackend(SQSBackend):
    """Queues of one account and region."""

    @property
    def _url_module(self) -> ModuleType:
        return urls

    def is_message_valid_based_on_retention_period(self, queue_name: str, message: Message) -> bool:
        """Whether a message's retention has not ended."""
        kept: int = self.get_queue(queue_name).message_retention_period  # type: ignore[attr-defined]
        return bool(kept + (message.sent_timestamp or 0) / 1000 > time.time())


def install() -> None:
    """Replace moto's backend."""
    models.sqs_backends.backend = SandboxSQSBackend
