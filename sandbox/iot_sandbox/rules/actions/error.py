"""The payloads that an error action gets.

https://docs.aws.amazon.com/iot/latest/developerguide/rule-error-handling.html
https://docs.aws.amazon.com/iot/latest/developerguide/http_batching.html
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from iot_sandbox.rules.actions.base import Failure
from iot_sandbox.shared.sql.message import Message
from iot_sandbox.shared.sql.values import Value, dumps


def single_payload(rule: str, message: Message, failures: Sequence[Failure]) -> bytes:
    """One message and all its failed actions."""
    return dumps(
        {"ruleName": rule, "topic": message.topic}
        | _metadata(message)
        | {"failures": [_failure(failure) for failure in failures]}
    )


def batch_payload(rule: str, messages: Sequence[Message], failure: Failure, across_topics: bool) -> bytes:
    """The messages of one request that failed; their ids count from 1.

    The topic stands once, or at each message if a batch may hold several; only batches have the source's address.
    """
    entries = [
        {"id": number}
        | _metadata(message)
        | ({"sourceIp": message.source_ip} if message.source_ip else {})
        | ({"topic": message.topic} if across_topics else {})
        for number, message in enumerate(messages, 1)
    ]
    ids: dict[str, Value] = {"affectedIds": [entry["id"] for entry in entries]}
    return dumps(
        {"ruleName": rule}
        | ({} if across_topics else {"topic": messages[0].topic})
        | {"payloadsWithMetadata": entries, "failures": [ids | _failure(failure)]}
    )


def _metadata(message: Message) -> dict[str, Value]:
    return {
        "cloudwatchTraceId": message.trace_id,
        "clientId": message.client_id,
        "base64OriginalPayload": base64.b64encode(message.payload).decode(),
    }


def _failure(failure: Failure) -> dict[str, Value]:
    return {
        "failedAction": failure.action,
        "failedResource": failure.resource,
        "errorMessage": failure.message,
    }
