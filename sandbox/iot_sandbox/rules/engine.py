"""Runs the rules that match a message, and keeps the rules in step with the IoT API."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from iot_sandbox.rules.aws import Aws, AwsError
from iot_sandbox.rules.notices import Notices
from iot_sandbox.rules.rule import Rule, Services
from iot_sandbox.shared.changes import Changes
from iot_sandbox.shared.sql import SqlError
from iot_sandbox.shared.sql.message import Message

log = logging.getLogger(__name__)
notices = Notices(log)


class Engine:
    """The rules of one account and region."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._rules: dict[str, tuple[str, Rule | None]] = {}
        self._active: list[Rule] = []
        self._confirmed: tuple[str, ...] = ()
        self.loaded = asyncio.Event()
        """Set once the rules have been read for the first time."""

    @property
    def rules(self) -> list[str]:
        """Names of the rules that run."""
        return [rule.name for rule in self._active]

    async def process(self, message: Message) -> None:
        """Returns when all rules are done with the message."""
        matching = [rule for rule in self._active if rule.matches(message)]
        if message.rule and not matching:
            self._services.metrics.count(message.rule, "RuleNotFound")
            reason = "Message %s is for rule %s, which does not exist or is disabled"
            notices.warn(message.rule, reason, message.trace_id, message.rule)
        if len(matching) == 1:  # the usual case, without a task of its own
            await _run(matching[0], message)
        elif matching:
            await asyncio.gather(*(_run(rule, message) for rule in matching))

    def covered(self, url: str) -> bool:
        """Whether an enabled destination's confirmation URL is a prefix of the URL."""
        return url.startswith(self._confirmed) if self._confirmed else False

    async def follow(self, interval: float) -> None:
        """Reads rules and destinations when they change; while the API does not answer, the last ones stay."""
        reachable, changes = True, Changes()
        while True:
            try:
                if await self._services.aws.run(changes.due):
                    await self.refresh()
                    changes.was_read()
                reachable = True
            except AwsError as error:
                if reachable:
                    log.warning("The IoT API does not answer, the rules stay unchanged: %s", error)
                reachable = False
            await asyncio.sleep(interval)

    async def refresh(self) -> None:
        """Reads rules and destinations once; raises AwsError."""
        definitions, confirmed = await self._services.aws.run(lambda: read(self._services.aws))
        self._confirmed = tuple(confirmed)
        gone = [self._rules.pop(name) for name in list(self._rules) if name not in definitions]
        for name, definition in definitions.items():
            known = self._rules.get(name)
            text = json.dumps(definition, sort_keys=True, default=str)
            if known is None or known[0] != text:
                self._rules[name] = text, self._compile(definition)
                gone += [known] if known else []
        self._active = [rule for _, rule in self._rules.values() if rule]
        self.loaded.set()
        for _, rule in gone:
            if rule:
                await rule.close()

    def _compile(self, definition: Mapping[str, Any]) -> Rule | None:
        name = definition["ruleName"]
        if definition.get("ruleDisabled"):
            log.info("Rule %s is disabled", name)
            return None
        try:
            rule = Rule(definition, self._services, self.covered)
        except SqlError as error:
            log.error("Rule %s is not run: %s", name, error)  # noqa: TRY400
            return None
        log.info("Rule %s runs: %s", name, definition["sql"])
        return rule

    async def close(self) -> None:
        """Finishes the rules' open work."""
        for rule in self._active:
            await rule.close()


async def _run(rule: Rule, message: Message) -> None:
    """Runs a rule; a fault of this program is logged and does not keep the message's other rules from finishing."""
    try:
        await rule.run(message)
    except Exception:
        log.exception("Rule %s crashed on message %s of %s", rule.name, message.trace_id, message.topic)


def read(aws: Aws) -> tuple[dict[str, Mapping[str, Any]], Sequence[str]]:
    """Rules by name, and the confirmation URLs of enabled HTTP destinations; blocking."""
    client = aws.client("iot")
    names = [rule["ruleName"] for page in client.get_paginator("list_topic_rules").paginate() for rule in page["rules"]]
    rules = {name: rule for name in names if (rule := _get(client, name))}
    pages = client.get_paginator("list_topic_rule_destinations").paginate()
    destinations = [d for page in pages for d in page["destinationSummaries"] if d["status"] == "ENABLED"]
    return rules, [d["httpUrlSummary"]["confirmationUrl"] for d in destinations if d.get("httpUrlSummary")]


def _get(client: Any, name: str) -> Mapping[str, Any] | None:
    """A rule, or None if it was deleted after it had been listed (which AWS calls unauthorized)."""
    try:
        rule: Mapping[str, Any] = client.get_topic_rule(ruleName=name)["rule"]
    except ClientError as error:
        if error.response["Error"]["Code"] in ("UnauthorizedException", "ResourceNotFoundException"):
            return None
        raise
    return {"ruleName": name, **rule}
