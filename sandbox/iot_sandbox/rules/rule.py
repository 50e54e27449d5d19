"""A rule as the engine runs it: statement, actions, error action."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iot_sandbox.rules.actions.base import Action, Delivery, Failure, delivery
from iot_sandbox.rules.actions.error import batch_payload, single_payload
from iot_sandbox.rules.actions.http import HttpAction
from iot_sandbox.rules.actions.republish import Publish, RepublishAction
from iot_sandbox.rules.actions.sender import DestinationCheck, Sender
from iot_sandbox.rules.actions.sqs import SqsAction
from iot_sandbox.rules.aws import Aws
from iot_sandbox.rules.metrics import Metrics
from iot_sandbox.rules.notices import Notices
from iot_sandbox.rules.secrets import Secrets
from iot_sandbox.shared.sql import OLD_VERSION, Context, EvaluationError, SqlError, compile_statement
from iot_sandbox.shared.sql.message import Message
from iot_sandbox.shared.sql.topics import matcher

notices = Notices(logging.getLogger(__name__))


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the actions of all rules share."""

    account_id: str
    aws: Aws
    secrets: Secrets
    sender: Sender
    publish: Publish
    metrics: Metrics


class Rule:
    """A compiled rule that is enabled."""

    def __init__(self, definition: Mapping[str, Any], services: Services, covered: DestinationCheck) -> None:
        """Compiles GetTopicRule's rule; raises SqlError for an invalid statement or template."""
        self.name: str = definition["ruleName"]
        self._services, self._covered = services, covered
        self._statement = compile_statement(definition["sql"], definition.get("awsIotSqlVersion") or OLD_VERSION)
        self._matches_topic = matcher(self._statement.topic_filter)
        self._actions = [self._action(action) for action in definition.get("actions") or []]
        error_action = definition.get("errorAction")
        self._error_action = self._action(error_action, is_error_action=True) if error_action else None

    def matches(self, message: Message) -> bool:
        """Whether the rule gets a message: by its FROM, or by Basic Ingest whatever its FROM."""
        return message.rule == self.name if message.rule else self._matches_topic(message.topic)

    async def run(self, message: Message) -> None:
        """Runs the rule for a matching message; returns when its actions and its error action are done."""
        self._count("TopicMatch")
        try:
            context = Context(message, message.document, self._services.account_id)
            context = self._statement.with_variables(
                await self._services.secrets.fill(context, self._statement.secret_requests(context))
            )
            if not self._statement.applies(context):
                return
            selected = delivery(context, self._statement.select(context))
        except EvaluationError as error:
            # AWS only logs these: error actions are for failed actions
            self._count("ParseError")
            notices.warn(self.name, "Rule %s failed for message %s: %s", self.name, message.trace_id, error)
            return
        self._count("RulesExecuted")
        results = await self._run_actions(selected)
        failures = [failure for failure in results if failure]
        if failures:
            await self._fail(selected, single_payload(self.name, message, failures), failures[0])

    async def _run_actions(self, selected: Delivery) -> list[Failure | None]:
        if len(self._actions) == 1:  # the usual case, without a task of its own
            return [await self._actions[0].run(selected)]
        return await asyncio.gather(*(action.run(selected) for action in self._actions))

    async def _report_batch(self, deliveries: Sequence[Delivery], failure: Failure, across_topics: bool) -> None:
        messages = [d.message for d in deliveries]
        await self._fail(deliveries[-1], batch_payload(self.name, messages, failure, across_topics), failure)

    async def _fail(self, failed: Delivery, payload: bytes, first: Failure) -> None:
        if self._error_action is None:
            lost = failed.message.trace_id
            notices.warn(self.name, "Rule %s has no error action, message %s: %s", self.name, lost, first.message)
            return
        failure = await self._error_action.run(Delivery(failed.context, payload, is_json=True))
        self._count("ErrorActionFailure" if failure else "ErrorActionSuccess")
        if failure:
            notices.warn(self.name, "Error action of rule %s failed: %s", self.name, failure.message)

    def _action(self, definition: Mapping[str, Any], is_error_action: bool = False) -> Action:
        kind, content = next((k, v) for k, v in definition.items() if v is not None)
        services = self._services

        def count(metric: str) -> None:
            if not is_error_action:
                services.metrics.count(self.name, metric, kind)

        match kind:
            case "http":
                return HttpAction(
                    content,
                    sender=services.sender,
                    secrets=services.secrets,
                    covered=self._covered,
                    report=self._report_batch,
                    count=count,
                )
            case "sqs":
                return SqsAction(content, services.aws, count)
            case "republish":
                return RepublishAction(
                    content, aws=services.aws, secrets=services.secrets, publish=services.publish, count=count
                )
        raise SqlError(f"The action {kind} is not emulated")

    def _count(self, metric: str) -> None:
        self._services.metrics.count(self.name, metric)

    async def close(self) -> None:
        """Finishes its actions' open work."""
        for action in self._actions:
            await action.close()
