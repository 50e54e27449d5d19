"""The republish action: https://docs.aws.amazon.com/iot/latest/developerguide/republish-rule-action.html"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from iot_sandbox.rules.actions.base import Delivery, Failure
from iot_sandbox.rules.aws import Aws, AwsError
from iot_sandbox.rules.secrets import Secrets
from iot_sandbox.shared.sql import EvaluationError
from iot_sandbox.shared.sql.template import compile_template

Publish = Callable[[str, bytes, int], Awaitable[None]]
"""Publishes a payload on a topic with a QoS; returns when the broker has taken it."""


class RepublishAction:
    """Publishes what the rule selected on another topic."""

    kind = "republish"

    def __init__(
        self,
        definition: Mapping[str, Any],
        *,
        aws: Aws,
        secrets: Secrets,
        publish: Publish,
        count: Callable[[str], None],
    ) -> None:
        """Compiles the API's RepublishAction; raises SqlError for an invalid template."""
        self._aws, self._secrets, self._publish, self._count = aws, secrets, publish, count
        self._role = definition["roleArn"]
        self._topic = compile_template(definition["topic"])
        self._qos = int(definition.get("qos") or 0)

    async def run(self, delivery: Delivery) -> Failure | None:
        topic = ""
        try:
            context = await self._secrets.fill(delivery.context, self._topic.secret_requests(delivery.context))
            # "$$aws" is how a topic that begins with "$" is written in a rule
            topic = self._topic.render(context).replace("$$", "$", 1)
            account = context.account_id
            arn = f"arn:aws:iot:{self._aws.region}:{account}:topic/{topic}"
            await self._aws.run(lambda: self._aws.client_as(self._role, "iot", "iot:Publish", arn))
            await self._publish(topic, delivery.payload, self._qos)
        except (AwsError, EvaluationError, ValueError, ConnectionError) as error:
            self._count("Failure")
            return Failure("RepublishAction", topic, f"Failed to publish to the topic. {error}")
        self._count("Success")
        return None

    async def close(self) -> None:
        """There is no open work."""
