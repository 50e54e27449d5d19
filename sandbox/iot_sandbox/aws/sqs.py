"""SQS that stays fast with long queues, and right with several consumers.

For each message that it delivers, moto works out all attributes of the queue, counts of its messages among them: ten
messages of a queue of 2,500 take a second and a half, and a redrive that asks for more at once is answered too late.
moto also sends, receives and deletes without a lock: of calls at the same time, some fail, lose or repeat a message.
"""

from __future__ import annotations

import time
from threading import RLock
from types import ModuleType
from typing import Any

from moto.sqs import models, urls
from moto.sqs.models import Message, SQSBackend


class SandboxSQSBackend(SQSBackend):
    """Queues of one account and region."""

    _lock = RLock()  # of all queues' messages

    @property
    def _url_module(self) -> ModuleType:
        return urls

    def receive_message(
        self,
        queue_name: str,
        count: int,
        wait_seconds_timeout: int,
        visibility_timeout: int,
        message_attribute_names: list[str] | None = None,
    ) -> list[Message]:
        """ReceiveMessage; others' calls go on while this one waits for messages."""
        end = time.monotonic() + wait_seconds_timeout
        while True:
            with self._lock:
                found = super().receive_message(queue_name, count, 0, visibility_timeout, message_attribute_names)
            if found or time.monotonic() >= end:
                return found
            time.sleep(0.1)

    def send_message(self, *args: Any, **kwargs: Any) -> Message:
        """SendMessage, of which SendMessageBatch is made."""
        with self._lock:
            return super().send_message(*args, **kwargs)

    def delete_message(self, queue_name: str, receipt_handle: str) -> None:
        """DeleteMessage, of which DeleteMessageBatch is made."""
        with self._lock:
            super().delete_message(queue_name, receipt_handle)

    def change_message_visibility(self, queue_name: str, receipt_handle: str, visibility_timeout: int) -> None:
        """ChangeMessageVisibility, of which ChangeMessageVisibilityBatch is made."""
        with self._lock:
            super().change_message_visibility(queue_name, receipt_handle, visibility_timeout)

    def is_message_valid_based_on_retention_period(self, queue_name: str, message: Message) -> bool:
        """Whether a message's retention has not ended."""
        kept: int = self.get_queue(queue_name).message_retention_period  # type: ignore[attr-defined]
        return bool(kept + (message.sent_timestamp or 0) / 1000 > time.time())


def install() -> None:
    """Replace moto's backend."""
    models.sqs_backends.backend = SandboxSQSBackend
