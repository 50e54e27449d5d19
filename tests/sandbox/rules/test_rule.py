"""Rules with their actions, against an HTTPS endpoint and the emulated AWS."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from iot_sandbox.rules.actions.sender import Sender
from iot_sandbox.rules.aws import REFUSED_SECONDS, Aws
from iot_sandbox.rules.metrics import Metrics
from iot_sandbox.rules.rule import Rule, Services
from iot_sandbox.rules.secrets import Secrets
from iot_sandbox.shared.sql.message import Message

from tests.sandbox.broker.emulator import ACCOUNT, READ_SECRET, REGION, Emulator, allow, document
from tests.sandbox.rules.endpoint import Answer, Endpoint
from tests.support.certificates import Authority


class Bench:
    """Services of a rule, with what it published and counted."""

    def __init__(self, emulator: Emulator, endpoint: Endpoint, sender: Sender) -> None:
        self.emulator, self.endpoint = emulator, endpoint
        self.published: list[tuple[str, bytes, int]] = []
        self.metrics = Metrics()
        self.destinations = [endpoint.url]
        aws = Aws(REGION)
        self.services = Services(
            account_id=ACCOUNT,
            aws=aws,
            secrets=Secrets(aws, 0.5),
            sender=sender,
            publish=self._publish,
            metrics=self.metrics,
        )
        name = uuid.uuid4().hex[:8]
        self.queue, self.queue_arn = emulator.queue(f"dead-{name}")
        self.role = emulator.role(f"rule-{name}", allow("sqs:SendMessage", self.queue_arn))

    async def _publish(self, topic: str, payload: bytes, qos: int) -> None:
        self.published.append((topic, payload, qos))

    def rule(self, sql: str = "SELECT * FROM 't/#'", error: bool = True, **action: Any) -> Rule:
        definition: dict[str, Any] = {"ruleName": "r", "sql": sql, "actions": [action] if action else []}
        if error:
            definition["errorAction"] = {"sqs": {"queueUrl": self.queue, "roleArn": self.role}}
        return Rule(definition, self.services, lambda url: url.startswith(tuple(self.destinations)))

    def http(self, path: str = "/ingest", **more: Any) -> dict[str, Any]:
        return {"http": {"url": self.endpoint.url + path, **more}}

    def counted(self, action: str = "") -> dict[str, int]:
        return {m["MetricName"]: m["Sum"] for m in self.metrics.as_json() if m["ActionType"] == action}  # type: ignore[misc]

    async def dead(self) -> list[Any]:
        return await asyncio.to_thread(self.emulator.drain, self.queue)


@pytest.fixture
async def bench(
    emulator: Emulator, endpoint: Endpoint, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bench]:
    for name, value in emulator.environment.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    async with Sender(authority.certificate) as sender:
        yield await asyncio.to_thread(Bench, emulator, endpoint, sender)


def message(payload: bytes = b'{"a": 1.0}', topic: str = "t/1", trace: str = "trace-1") -> Message:
    return Message(topic, payload, "sensor-1", "ab" * 32, trace, 1_700_000_000_000, "10.0.0.7")


async def test_a_message_is_posted_as_it_came(bench: Bench) -> None:
    await bench.rule(**bench.http()).run(message())
    (request,) = bench.endpoint.requests
    assert (request.path, request.body) == ("/ingest", b'{"a": 1.0}')
    assert request.headers["Content-Type"] == "application/json"
    assert bench.counted() == {"TopicMatch": 1, "RulesExecuted": 1}
    assert bench.counted("http") == {"Success": 1}


async def test_binary_is_posted_as_octets(bench: Bench) -> None:
    await bench.rule(**bench.http()).run(message(b"\xff\x00"))
    (request,) = bench.endpoint.requests
    assert (request.body, request.headers["Content-Type"]) == (b"\xff\x00", "application/octet-stream")


ENVELOPE = (
    "SELECT encode(*, 'base64') AS iot_payload, timestamp() AS iot_received_at, traceid() AS iot_trace_id, "
    "clientid() AS iot_client_id FROM 't/#'"
)


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize(
    "payload",
    [
        b' { "temp" : 21.50,\n\t"temp": 1E400 } ',
        b"",
        b"\xff\xfe",
        b"[1,2]",
        b'{"temp": NaN}',
        b"\x00" * 131_072,
        b"[" * 120_000,
        "temp=21,5 °C".encode(),
        b"null",
    ],
    ids=["spaced", "empty", "binary", "array", "nan", "128KiB", "deep", "text", "null"],
)
async def test_an_envelope_carries_a_payload_of_any_kind(bench: Bench, payload: bytes, batched: bool) -> None:
    headers = [{"key": "X-Who", "value": "${clientid()}/${topic(2)}"}]
    limits: dict[str, Any] = {"enableBatching": True, "batchConfig": {"maxBatchSizeBytes": 131_072}} if batched else {}
    await bench.rule(ENVELOPE, **bench.http(headers=headers, **limits)).run(message(payload))
    (request,) = bench.endpoint.requests
    assert request.json == ([_envelope(payload)] if batched else _envelope(payload))
    assert (request.headers["Content-Type"], request.headers["X-Who"]) == ("application/json", "sensor-1/1")


def _envelope(payload: bytes) -> dict[str, Any]:
    return {
        "iot_payload": base64.b64encode(payload).decode(),
        "iot_received_at": 1_700_000_000_000,
        "iot_trace_id": "trace-1",
        "iot_client_id": "sensor-1",
    }


async def test_what_is_undefined_by_itself_is_empty_and_no_json(bench: Bench) -> None:
    for payload in (b"\xff\x00", b'{"a": 1}'):
        await bench.rule("SELECT VALUE missing FROM 't/#'", **bench.http()).run(message(payload))
    assert len(bench.endpoint.requests) == 2
    for request in bench.endpoint.requests:
        assert (request.body, request.headers["Content-Type"]) == (b"", "application/octet-stream")


async def test_where_stops_a_message(bench: Bench) -> None:
    await bench.rule("SELECT * FROM 't/#' WHERE a > 5", **bench.http()).run(message())
    assert not bench.endpoint.requests
    assert bench.counted() == {"TopicMatch": 1}


async def test_url_and_headers_take_templates(bench: Bench) -> None:
    headers = [{"key": "X-Client", "value": "${clientid()}/${a}"}, {"key": "content-TYPE", "value": "text/x"}]
    await bench.rule("SELECT a AS b FROM 't/#'", **bench.http("/${topic(2)}", headers=headers)).run(message())
    (request,) = bench.endpoint.requests
    assert (request.path, request.json) == ("/1", {"b": 1.0})
    assert request.headers["X-Client"] == "sensor-1/1"
    assert request.headers["Content-Type"] == "text/x"


async def test_a_failed_action_runs_the_error_action(bench: Bench) -> None:
    bench.endpoint.answers[:] = [Answer(422)]
    await bench.rule("SELECT a AS b FROM 't/#'", **bench.http()).run(message())
    assert await bench.dead() == [
        {
            "ruleName": "r",
            "topic": "t/1",
            "cloudwatchTraceId": "trace-1",
            "clientId": "sensor-1",
            "base64OriginalPayload": base64.b64encode(b'{"a": 1.0}').decode(),
            "failures": [
                {
                    "failedAction": "HttpAction",
                    "failedResource": bench.endpoint.url + "/ingest",
                    "errorMessage": "HttpAction failed to make a request to the specified endpoint. "
                    "StatusCode: 422. Reason: Unprocessable Entity.",
                }
            ],
        }
    ]
    assert bench.counted() == {"TopicMatch": 1, "RulesExecuted": 1, "ErrorActionSuccess": 1}
    assert bench.counted("http") == {"Failure": 1, "HttpCode_4XX": 1}


async def test_messages_are_batched_and_the_last_ones_headers_are_sent(bench: Bench) -> None:
    headers = [{"key": "X-Trace", "value": "${traceid()}"}]
    batch = bench.http(enableBatching=True, headers=headers, batchConfig={"maxBatchOpenMs": 50})
    rule = bench.rule("SELECT a FROM 't/#'", **batch)
    await asyncio.gather(*(rule.run(message(b'{"a": %d}' % n, trace=str(n))) for n in range(12)))
    first, second = bench.endpoint.requests
    assert first.json == [{"a": n} for n in range(10)]
    assert second.json == [{"a": 10}, {"a": 11}]
    assert (first.headers["X-Trace"], second.headers["X-Trace"]) == ("9", "11")
    assert bench.counted("http") == {"Success": 12}


async def test_a_failed_batch_is_one_dead_letter(bench: Bench) -> None:
    bench.endpoint.answers[:] = [Answer(500)]
    rule = bench.rule(**bench.http(enableBatching=True))
    await asyncio.gather(rule.run(message(b"1", trace="x")), rule.run(message(b'"2"', trace="y")))
    assert len(bench.endpoint.requests) == 3
    (letter,) = await bench.dead()
    failure = letter.pop("failures")[0]
    assert letter == {
        "ruleName": "r",
        "topic": "t/1",
        "payloadsWithMetadata": [
            {
                "id": number,
                "cloudwatchTraceId": trace,
                "clientId": "sensor-1",
                "sourceIp": "10.0.0.7",
                "base64OriginalPayload": base64.b64encode(payload).decode(),
            }
            for number, trace, payload in ((1, "x", b"1"), (2, "y", b'"2"'))
        ],
    }
    assert (failure["affectedIds"], failure["failedAction"]) == ([1, 2], "HttpAction")
    assert bench.counted("http") == {"Failure": 2, "HttpCode_5XX": 1}


async def test_topics_stand_at_each_message_if_batches_cross_them(bench: Bench) -> None:
    bench.endpoint.answers[:] = [Answer(400)]
    rule = bench.rule(**bench.http(enableBatching=True, batchConfig={"batchAcrossTopics": True}))
    await asyncio.gather(rule.run(message()), rule.run(message(topic="t/2")))
    (letter,) = await bench.dead()
    assert "topic" not in letter
    assert [entry["topic"] for entry in letter["payloadsWithMetadata"]] == ["t/1", "t/2"]


@pytest.mark.parametrize("payload", [b"\xff", b""])
async def test_binary_cannot_be_batched(bench: Bench, payload: bytes) -> None:
    await bench.rule(**bench.http(enableBatching=True)).run(message(payload))
    (letter,) = await bench.dead()
    assert "UTF-8" in letter["failures"][0]["errorMessage"]
    assert not bench.endpoint.requests


async def test_without_an_enabled_destination_nothing_is_sent(bench: Bench) -> None:
    bench.destinations = ["https://elsewhere.test"]
    await bench.rule(**bench.http()).run(message())
    (letter,) = await bench.dead()
    assert "No enabled destination" in letter["failures"][0]["errorMessage"]
    assert not bench.endpoint.requests


async def test_plain_http_is_refused(bench: Bench) -> None:
    bench.destinations = ["http://localhost"]
    await bench.rule(http={"url": "http://localhost/x"}).run(message())
    assert bench.counted("http") == {"HttpInvalidUrl": 1, "Failure": 1}


async def test_an_undefined_template_fails_the_action(bench: Bench) -> None:
    headers = [{"key": "X-A", "value": "${missing}"}]
    await bench.rule(**bench.http(headers=headers)).run(message())
    (letter,) = await bench.dead()
    assert "Undefined" in letter["failures"][0]["errorMessage"]


async def test_secrets_are_read_under_their_role_and_kept_for_a_while(bench: Bench) -> None:
    manager = bench.emulator.client("secretsmanager")
    name = f"secret-{uuid.uuid4().hex[:6]}"
    arn = manager.create_secret(Name=name, SecretString=json.dumps({"secret": "one"}))["ARN"]
    role = bench.emulator.role(f"reader-{name}", allow(READ_SECRET, arn))
    value = f"${{get_secret('{name}', 'SecretString', 'secret', '{role}')}}"
    rule = bench.rule(**bench.http(headers=[{"key": "X-Iot-Secret", "value": value}]))

    async def sent() -> str:
        await rule.run(message())
        return bench.endpoint.requests[-1].headers["X-Iot-Secret"]

    assert await sent() == "one"
    manager.put_secret_value(SecretId=name, SecretString=json.dumps({"secret": "two"}))
    assert await sent() == "one"
    await asyncio.sleep(0.6)
    assert await sent() == "two"
    assert not await bench.dead()


Wrong = Callable[[Bench, str], str]


@pytest.mark.parametrize(
    ("role", "reason"),
    [
        (lambda bench, name: f"arn:aws:iam::{ACCOUNT}:role/none", "Unable to assume role"),
        (
            lambda bench, name: bench.emulator.role(f"ec2-{name}", allow("*", "*"), trusts="ec2.amazonaws.com"),
            "Unable to assume role",
        ),
        (
            lambda bench, name: bench.emulator.role(f"half-{name}", allow(READ_SECRET[1], "*")),
            "not authorized to perform: secretsmanager:DescribeSecret",
        ),
        (
            lambda bench, name: bench.emulator.role(f"half-{name}", allow(READ_SECRET[0], "*")),
            "not authorized to perform: secretsmanager:GetSecretValue",
        ),
        (lambda bench, name: bench.emulator.role(f"bare-{name}"), "not authorized to perform: secretsmanager"),
        (
            lambda bench, name: bench.emulator.role(
                f"deny-{name}", allow("*", "*"), {"Effect": "Deny", "Action": "secretsmanager:*", "Resource": "*"}
            ),
            "not authorized to perform: secretsmanager",
        ),
    ],
)
async def test_a_secret_that_the_role_may_not_read_fails_the_action(bench: Bench, role: Wrong, reason: str) -> None:
    name = f"secret-{uuid.uuid4().hex[:6]}"
    bench.emulator.client("secretsmanager").create_secret(Name=name, SecretString='{"secret": "one"}')
    value = f"${{get_secret('{name}', 'SecretString', 'secret', '{role(bench, name)}')}}"
    await bench.rule(**bench.http(headers=[{"key": "X", "value": value}])).run(message())
    (letter,) = await bench.dead()
    assert reason in letter["failures"][0]["errorMessage"]
    assert not bench.endpoint.requests


async def test_a_secret_that_was_rotated_and_one_without_the_key(bench: Bench) -> None:
    manager = bench.emulator.client("secretsmanager")
    name = f"secret-{uuid.uuid4().hex[:6]}"
    arn = manager.create_secret(Name=name, SecretBinary=b"\x00\x01")["ARN"]
    role = bench.emulator.role(f"reader-{name}", allow(READ_SECRET, arn))

    async def sent(arguments: str) -> str:
        value = f"${{get_secret('{name}', {arguments}, '{role}')}}"
        await bench.rule(**bench.http(headers=[{"key": "X-Iot-Secret", "value": value}])).run(message())
        letters = await bench.dead()
        if letters:
            return str(letters[0]["failures"][0]["errorMessage"]).rpartition(": ")[2]
        return bench.endpoint.requests[-1].headers["X-Iot-Secret"]

    assert await sent("'SecretBinary'") == "AAE="
    assert await sent("'SecretString'") == "the secret holds no SecretString"
    plain = manager.put_secret_value(SecretId=name, SecretString="plain")["VersionId"]
    assert await sent("'SecretString'") == "plain"
    assert await sent("'SecretString', 'key'") == "the secret has no key key"
    new = {"SecretString": '{"key": "new"}', "VersionStages": ["AWSPENDING"]}
    staged = manager.put_secret_value(SecretId=name, **new)["VersionId"]
    assert await sent("'SecretString', 'key'") == "the secret has no key key"
    manager.update_secret_version_stage(
        SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=staged, RemoveFromVersionId=plain
    )
    await asyncio.sleep(0.6)  # the cache's time
    assert await sent("'SecretString', 'key'") == "new"


async def test_all_failures_of_a_message_are_reported_together(bench: Bench) -> None:
    bench.endpoint.answers[:] = [Answer(400)]
    other = bench.emulator.role(f"other-{uuid.uuid4().hex[:6]}")
    definition = {
        "ruleName": "r",
        "sql": "SELECT * FROM 't/#'",
        "actions": [bench.http(), {"sqs": {"queueUrl": bench.queue, "roleArn": other}}],
        "errorAction": {"sqs": {"queueUrl": bench.queue, "roleArn": bench.role}},
    }
    await Rule(definition, bench.services, lambda url: True).run(message())
    (letter,) = await bench.dead()
    assert [failure["failedAction"] for failure in letter["failures"]] == ["HttpAction", "SqsAction"]


async def test_an_error_action_that_fails_is_counted(bench: Bench) -> None:
    bench.endpoint.answers[:] = [Answer(400)]
    bench.role = bench.emulator.role(f"other-{uuid.uuid4().hex[:6]}")
    await bench.rule(**bench.http()).run(message())
    assert bench.counted()["ErrorActionFailure"] == 1


async def test_a_role_that_was_fixed_is_used_at_once(bench: Bench) -> None:
    bench.role = bench.emulator.role(f"fixed-{uuid.uuid4().hex[:6]}")
    rule = bench.rule(error=False, sqs={"queueUrl": bench.queue, "roleArn": bench.role})
    await rule.run(message())
    text = document(allow("sqs:SendMessage", bench.queue_arn))
    bench.emulator.client("iam").put_role_policy(RoleName=bench.role.rpartition("/")[2], PolicyName="own",
                                                 PolicyDocument=text)
    await asyncio.sleep(REFUSED_SECONDS + 0.1)
    await rule.run(message())
    assert bench.counted("sqs") == {"Failure": 1, "Success": 1}


async def test_sqs_and_republish(bench: Bench) -> None:
    await bench.rule(sqs={"queueUrl": bench.queue, "roleArn": bench.role}).run(message())
    assert await bench.dead() == [{"a": 1.0}]
    role = bench.emulator.role(f"pub-{uuid.uuid4().hex[:6]}", allow("iot:Publish", "*"))
    republish = {"topic": "out/${topic(2)}", "qos": 1, "roleArn": role}
    await bench.rule("SELECT a FROM 't/#'", republish=republish).run(message())
    assert bench.published == [("out/1", b'{"a":1}', 1)]
    await bench.rule(republish=republish | {"roleArn": bench.role}).run(message())
    (letter,) = await bench.dead()
    assert letter["failures"][0]["failedAction"] == "RepublishAction"
