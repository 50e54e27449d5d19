"""What get_secret() finds in Secrets Manager, kept for a while as AWS keeps it.

https://docs.aws.amazon.com/iot/latest/developerguide/iot-sql-functions.html#iot-sql-function-get-secret
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from iot_sandbox.rules.aws import Aws, AwsError
from iot_sandbox.shared.sql import Context, EvaluationError, SecretRequest
from iot_sandbox.shared.sql.values import Value

CACHE_SECONDS = 15 * 60
TEXT, BINARY = "SecretString", "SecretBinary"


class Secrets:
    """Secrets by request; requests for the same secret share one lookup."""

    def __init__(self, aws: Aws, cache_seconds: float = CACHE_SECONDS) -> None:
        self._aws = aws
        self._cache_seconds = cache_seconds
        self._known: dict[SecretRequest, tuple[Value, float]] = {}
        self._pending: dict[SecretRequest, asyncio.Task[Value]] = {}

    async def fill(self, context: Context, requests: Iterable[SecretRequest]) -> Context:
        """The context with these secrets in it; raises EvaluationError if one cannot be read."""
        wanted = list(requests)
        if not wanted:
            return context
        return replace(context, secrets={**context.secrets, **{r: await self._value(r) for r in wanted}})

    async def _value(self, request: SecretRequest) -> Value:
        value, until = self._known.get(request, (None, 0.0))
        if time.monotonic() < until:
            return value
        if request not in self._pending:
            task = self._pending[request] = asyncio.ensure_future(self._aws.run(lambda: self._look_up(request)))
            task.add_done_callback(lambda _: self._pending.pop(request))
        try:
            value = await asyncio.shield(self._pending[request])
        except AwsError as error:
            raise EvaluationError(f"get_secret() failed for {request.secret_id}: {error}") from error
        self._known[request] = value, time.monotonic() + self._cache_seconds
        return value

    def _look_up(self, request: SecretRequest) -> Value:
        own = self._aws.client("secretsmanager")
        arn = own.describe_secret(SecretId=request.secret_id)["ARN"]
        self._aws.client_as(request.role_arn, "secretsmanager", "secretsmanager:DescribeSecret", arn)
        client = self._aws.client_as(request.role_arn, "secretsmanager", "secretsmanager:GetSecretValue", arn)
        return _extract(client.get_secret_value(SecretId=request.secret_id), request)


def _extract(answer: Any, request: SecretRequest) -> Value:
    """The whole secret, or one key of a secret that is a JSON object."""
    if request.secret_type == BINARY and request.key is None and BINARY in answer:
        return base64.b64encode(answer[BINARY]).decode()
    if request.secret_type != TEXT or TEXT not in answer:
        raise AwsError(f"the secret holds no {request.secret_type}")
    text = answer[TEXT]
    try:
        document = json.loads(text)
    except ValueError:
        document = text
    if request.key is None:
        return document if isinstance(document, dict) else text
    if not isinstance(document, dict) or request.key not in document:
        raise AwsError(f"the secret has no key {request.key}")
    return document[request.key]
