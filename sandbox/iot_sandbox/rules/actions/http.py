"""The HTTP action: https://docs.aws.amazon.com/iot/latest/developerguide/https-rule-action.html"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from iot_sandbox.rules.actions.base import Delivery, Failure
from iot_sandbox.rules.actions.batch import Batcher, Limits
from iot_sandbox.rules.actions.sender import DestinationCheck, Outcome, Sender
from iot_sandbox.rules.secrets import Secrets
from iot_sandbox.shared.sql import EvaluationError
from iot_sandbox.shared.sql.template import compile_template

BatchReport = Callable[[Sequence[Delivery], Failure, bool], Awaitable[None]]
"""Reports a failed batch: its deliveries, the failure, and whether it may hold several topics."""
Count = Callable[[str], None]
JSON, BINARY = "application/json", "application/octet-stream"


class HttpAction:
    """Posts what the rule selected, alone or in batches, to a URL that an enabled destination covers."""

    kind = "http"

    def __init__(
        self,
        definition: Mapping[str, Any],
        *,
        sender: Sender,
        secrets: Secrets,
        covered: DestinationCheck,
        report: BatchReport,
        count: Count,
    ) -> None:
        """Compiles the API's HttpAction; raises SqlError for an invalid template."""
        self._sender, self._secrets, self._covered, self._report, self._count = (
            sender,
            secrets,
            covered,
            report,
            count,
        )
        self._url = compile_template(definition["url"])
        self._headers = [(h["key"], compile_template(h["value"])) for h in definition.get("headers") or []]
        self._signed = bool((definition.get("auth") or {}).get("sigv4"))
        self._limits = Limits.of(definition.get("batchConfig") or {})
        batching = bool(definition.get("enableBatching"))
        self._batcher = Batcher[Delivery](self._limits, self._send_batch) if batching else None

    async def run(self, delivery: Delivery) -> Failure | None:
        """A failed batch reports itself once for all its messages, before they count as done."""
        url = ""
        try:
            requests = [r for t in (self._url, *self._templates()) for r in t.secret_requests(delivery.context)]
            context = await self._secrets.fill(delivery.context, requests)
            delivery = Delivery(context, delivery.payload, delivery.is_json)
            url = self._url.render(context)
            self._check(url)
            headers = self._render(delivery)
        except EvaluationError as error:
            return self._failure(url, str(error))
        if self._batcher is None:
            return self._settled(url, await self._sender.post(url, headers, delivery.payload), 1)
        if not _is_text(delivery):
            return self._failure(url, "A payload that is empty or not UTF-8 text cannot be batched")
        await self._batcher.add(url, delivery.message.topic, delivery, len(delivery.payload))
        return None

    def _templates(self) -> Sequence[Any]:
        return [template for _, template in self._headers]

    def _check(self, url: str) -> None:
        if self._signed:
            raise EvaluationError("SigV4 authorization is not emulated")
        if not url.startswith("https://"):
            self._count("HttpInvalidUrl")
            raise EvaluationError(f"The URL must begin with https://: {url}")
        if not self._covered(url):
            raise EvaluationError(f"No enabled destination has a confirmation URL that {url} begins with")

    def _render(self, delivery: Delivery) -> dict[str, str]:
        headers = {"Content-Type": JSON if delivery.is_json or self._batcher else BINARY}
        for key, template in self._headers:
            name = "Content-Type" if key.lower() == "content-type" else key
            headers[name] = template.render(delivery.context)
        return headers

    async def _send_batch(self, url: str, deliveries: list[Delivery]) -> None:
        body = b"[" + b",".join(delivery.payload for delivery in deliveries) + b"]"
        outcome = await self._sender.post(url, self._render(deliveries[-1]), body)
        failure = self._settled(url, outcome, len(deliveries))
        if failure:
            await self._report(deliveries, failure, self._limits.across_topics)

    def _settled(self, url: str, outcome: Outcome, messages: int) -> Failure | None:
        for _ in range(messages):
            self._count("Success" if outcome.ok else "Failure")
        if outcome.ok:
            return None
        self._count(outcome.metric)
        return Failure(
            "HttpAction",
            url,
            f"HttpAction failed to make a request to the specified endpoint. {outcome.reason}",
        )

    def _failure(self, url: str, reason: str) -> Failure:
        self._count("Failure")
        return Failure("HttpAction", url, f"HttpAction failed to make a request to the specified endpoint. {reason}")

    async def close(self) -> None:
        if self._batcher:
            await self._batcher.close()


def _is_text(delivery: Delivery) -> bool:
    """Whether it can be part of a batch: an empty or binary element would break the array."""
    if delivery.is_json:
        return True
    try:
        return delivery.payload.decode() != ""
    except UnicodeDecodeError:
        return False
