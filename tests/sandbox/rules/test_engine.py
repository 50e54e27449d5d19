"""Rules follow the IoT API, and the engine reports its health."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer
from iot_sandbox.rules.actions.sender import Sender
from iot_sandbox.rules.aws import Aws, AwsError
from iot_sandbox.rules.consumer import Consumer
from iot_sandbox.rules.engine import Engine
from iot_sandbox.rules.health import application
from iot_sandbox.rules.metrics import Metrics
from iot_sandbox.rules.rule import Rule, Services
from iot_sandbox.rules.secrets import Secrets
from iot_sandbox.shared.sql.message import Message

from tests.sandbox.broker.emulator import ACCOUNT, REGION, Emulator
from tests.sandbox.rules.endpoint import Endpoint
from tests.support.certificates import Authority


class Account:
    """The engine, and the API that an operator uses."""

    def __init__(self, emulator: Emulator, engine: Engine, endpoint: Endpoint, metrics: Metrics) -> None:
        self.engine, self.endpoint, self.metrics = engine, endpoint, metrics
        self.iot = emulator.client("iot")

    async def call(self, name: str, **arguments: Any) -> Any:
        return await asyncio.to_thread(lambda: getattr(self.iot, name)(**arguments))

    async def destination(self) -> str:
        """An enabled destination for the endpoint; its ARN."""
        configuration = {"httpUrlConfiguration": {"confirmationUrl": self.endpoint.url}}
        made = await self.call("create_topic_rule_destination", destinationConfiguration=configuration)
        while not self.endpoint.requests:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        token = self.endpoint.requests.pop().json["confirmationToken"]
        await self.call("confirm_topic_rule_destination", confirmationToken=token)
        return str(made["topicRuleDestination"]["arn"])

    def payload(self, sql: str = "SELECT * FROM 't/#'", path: str = "/a") -> dict[str, Any]:
        return {
            "sql": sql,
            "actions": [{"http": {"url": self.endpoint.url + path, "confirmationUrl": self.endpoint.url}}],
        }

    async def publish(self, topic: str = "t/1", rule: str | None = None) -> list[str]:
        """The paths that a message on this topic is posted to; with a rule, by Basic Ingest."""
        self.endpoint.requests.clear()
        await self.engine.refresh()
        published = f"$aws/rules/{rule}/{topic}" if rule else topic
        await self.engine.process(Message(published, b"{}", "c", None, "trace", 1))
        return sorted(request.path for request in self.endpoint.requests)


@pytest.fixture
async def account(
    emulator: Emulator, endpoint: Endpoint, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Account]:
    for name, value in emulator.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    aws, metrics = Aws(REGION), Metrics()
    async with Sender(authority.certificate) as sender:
        services = Services(
            account_id=ACCOUNT,
            aws=aws,
            secrets=Secrets(aws),
            sender=sender,
            publish=cast("Any", None),
            metrics=metrics,
        )
        made = Account(emulator, Engine(services), endpoint, metrics)
        yield made
        for rule in (await made.call("list_topic_rules"))["rules"]:
            await made.call("delete_topic_rule", ruleName=rule["ruleName"])
        for each in (await made.call("list_topic_rule_destinations"))["destinationSummaries"]:
            if each["status"] != "DELETING":
                await made.call("delete_topic_rule_destination", arn=each["arn"])


async def test_rules_come_change_and_go(account: Account) -> None:
    await account.destination()
    assert await account.publish() == []
    await account.call("create_topic_rule", ruleName="one", topicRulePayload=account.payload())
    await account.call("create_topic_rule", ruleName="two", topicRulePayload=account.payload(path="/b"))
    other = account.payload("SELECT * FROM 'other'", "/c")
    await account.call("create_topic_rule", ruleName="three", topicRulePayload=other)
    assert await account.publish() == ["/a", "/b"]
    assert sorted(account.engine.rules) == ["one", "three", "two"]

    await account.call("replace_topic_rule", ruleName="one", topicRulePayload=account.payload(path="/changed"))
    await account.call("disable_topic_rule", ruleName="two")
    assert await account.publish() == ["/changed"]
    await account.call("enable_topic_rule", ruleName="two")
    await account.call("delete_topic_rule", ruleName="one")
    assert await account.publish() == ["/b"]


async def test_basic_ingest_runs_the_named_rule_alone(account: Account) -> None:
    await account.destination()
    statements = {"one": "SELECT * FROM 't/#'", "two": "SELECT * FROM 'elsewhere'", "three": "SELECT *"}
    for name, sql in statements.items():
        payload = account.payload(sql, f"/{name}")
        await account.call("create_topic_rule", ruleName=name, topicRulePayload=payload)
    assert await account.publish() == ["/one"]
    for name in statements:
        assert await account.publish(rule=name) == [f"/{name}"]
    await account.call("disable_topic_rule", ruleName="two")
    assert await account.publish(rule="two") == []
    assert await account.publish(rule="none") == []
    assert [account.metrics.value(name, "RuleNotFound") for name in ("one", "two", "none")] == [0, 1, 1]


async def test_destinations_must_be_enabled(account: Account) -> None:
    arn = await account.destination()
    await account.call("create_topic_rule", ruleName="one", topicRulePayload=account.payload())
    assert await account.publish() == ["/a"]
    await account.call("update_topic_rule_destination", arn=arn, status="DISABLED")
    assert await account.publish() == []
    await account.call("update_topic_rule_destination", arn=arn, status="ENABLED")
    assert await account.publish() == ["/a"]


async def test_a_rule_that_cannot_run_is_logged_and_does_not_affect_others(
    account: Account, caplog: pytest.LogCaptureFixture
) -> None:
    await account.destination()
    await account.call("create_topic_rule", ruleName="good", topicRulePayload=account.payload())
    lambda_action = {"lambda": {"functionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"}}
    payload = account.payload() | {"actions": [lambda_action]}
    await account.call("create_topic_rule", ruleName="bad", topicRulePayload=payload)
    with caplog.at_level(logging.ERROR):
        assert await account.publish() == ["/a"]
    assert "Rule bad is not run: The action lambda is not emulated" in caplog.text


async def test_a_rule_that_crashes_is_logged_and_the_others_finish(
    account: Account, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await account.destination()
    for name, path in (("bad", "/a"), ("good", "/b")):
        await account.call("create_topic_rule", ruleName=name, topicRulePayload=account.payload(path=path))
    run = Rule.run

    async def run_or_break(rule: Rule, message: Message) -> None:
        if rule.name == "bad":
            raise KeyError("a fault")
        await run(rule, message)

    monkeypatch.setattr(Rule, "run", run_or_break)
    assert await account.publish() == ["/b"]
    assert "Rule bad crashed on message trace of t/1" in caplog.text


async def test_rules_stay_while_the_api_is_silent(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    await account.destination()
    await account.call("create_topic_rule", ruleName="one", topicRulePayload=account.payload())
    await account.engine.refresh()

    def fail(aws: Aws) -> None:
        raise AwsError("silence")

    monkeypatch.setattr("iot_sandbox.rules.engine.read", fail)
    following = asyncio.create_task(account.engine.follow(0.01))
    await asyncio.sleep(0.1)
    assert not following.done()
    following.cancel()
    assert account.engine.rules == ["one"]


async def test_health_and_metrics(account: Account) -> None:
    consumer = SimpleNamespace(connected=False, in_flight=3)
    app = application(account.engine, cast("Consumer", consumer), account.metrics)
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/healthz")).status == 503
        await account.destination()
        await account.call("create_topic_rule", ruleName="one", topicRulePayload=account.payload())
        await account.publish()
        consumer.connected = True
        answer = await client.get("/healthz")
        content = await answer.json()
        assert (answer.status, content["status"], content["rules"], content["inFlight"]) == (200, "ok", ["one"], 3)
        assert {"RuleName": "one", "ActionType": "http", "MetricName": "Success", "Sum": 1} in content["metrics"]
        text = await (await client.get("/metrics")).text()
        assert 'iot_rules_total{rule="one",action="",metric="TopicMatch"} 1' in text.splitlines()
        assert "iot_rules_in_flight 3" in text.splitlines()
