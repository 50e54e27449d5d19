"""The whole way of a message: device, broker, rule, HTTPS endpoint, with every program as it runs in the sandbox."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.sandbox.broker.devices import Device
from tests.sandbox.broker.emulator import ACCOUNT, READ_SECRET, REGION, Emulator, allow
from tests.sandbox.broker.mosquitto import PREFIX, Broker
from tests.sandbox.rules.endpoint import Answer, Endpoint
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.waiting import until

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        allow("iot:Connect", PREFIX + "client/${iot:Connection.Thing.ThingName}"),
        allow("iot:Publish", PREFIX + "topic/things/telemetry"),
    ],
}
SQL = "SELECT deviceId, temp, clientid() AS iot_client_id, traceid() AS iot_trace_id FROM 'things/telemetry'"


@contextmanager
def program(emulator: Emulator, module: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", module, *map(str, arguments), "--account", ACCOUNT, "--region", REGION]
    with subprocess.Popen(command, env=emulator.environment) as process:
        try:
            yield process
            process.terminate()
            assert process.wait(15) == 0
        finally:
            process.kill()


class Deployment:
    """A thing with its certificate, and the programs between it and the endpoint."""

    def __init__(self, emulator: Emulator, broker: Broker, authority: Authority) -> None:
        self.broker, self.emulator = broker, emulator
        self.iot = emulator.client("iot")
        self.port = free_port()
        self.folder = broker.folder
        self.ca = authority.certificate

    def synchronizer(self) -> tuple[object, ...]:
        return ("iot_sandbox.broker", "--table", self.folder / "policies", "--interval", 0.2)

    def engine(self) -> tuple[object, ...]:
        return (
            *("iot_sandbox.rules", "--broker-socket", self.broker.socket, "--ca-bundle", self.ca),
            *("--port", self.port, "--interval", 0.2, "--secret-cache-seconds", 1),
        )

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2) as response:
                return "forward_to_alb" in json.load(response)["rules"]
        except OSError:
            return False

    def thing(self, name: str) -> str:
        """A thing with an active certificate, written to files; the certificate's ARN."""
        made = self.iot.create_keys_and_certificate(setAsActive=True)
        (self.folder / f"{name}.crt").write_text(made["certificatePem"])
        (self.folder / f"{name}.key").write_text(made["keyPair"]["PrivateKey"])
        self.iot.create_thing(thingName=name)
        self.iot.attach_thing_principal(thingName=name, principal=made["certificateArn"])
        self.iot.attach_policy(policyName="iot-thing-policy", target=made["certificateArn"])
        arn: str = made["certificateArn"]
        return arn

    def device(self, name: str) -> Device:
        certificate, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        return Device(self.broker.port, name, certificate=certificate, key=key, ca=self.ca)

    def admitted(self, name: str) -> bool:
        with self.device(name) as device:
            return device.refusal is None


@pytest.fixture
def deployment(emulator: Emulator, broker: Broker, authority: Authority) -> Deployment:
    return Deployment(emulator, broker, authority)


async def test_a_reading_reaches_the_endpoint(deployment: Deployment, endpoint: Endpoint) -> None:
    iot, emulator = deployment.iot, deployment.emulator
    iot.create_policy(policyName="iot-thing-policy", policyDocument=json.dumps(POLICY))
    arn = await asyncio.to_thread(deployment.thing, "sensor-1")

    url, queue_arn = emulator.queue("dead-letters")
    secret = emulator.client("secretsmanager").create_secret(Name="s", SecretString='{"secret": "abc"}')
    role = emulator.role(
        "rule",
        allow("sqs:SendMessage", queue_arn),
        allow(READ_SECRET, secret["ARN"]),
    )
    await asyncio.to_thread(
        iot.create_topic_rule_destination,
        destinationConfiguration={"httpUrlConfiguration": {"confirmationUrl": endpoint.url + "/ingest"}},
    )
    await asyncio.to_thread(until, lambda: bool(endpoint.requests), otherwise="no confirmation is asked for")
    iot.confirm_topic_rule_destination(confirmationToken=endpoint.requests.pop().json["confirmationToken"])
    header = f"${{get_secret('s', 'SecretString', 'secret', '{role}')}}"
    iot.create_topic_rule(
        ruleName="forward_to_alb",
        topicRulePayload={
            "sql": SQL,
            "awsIotSqlVersion": "2016-03-23",
            "actions": [
                {
                    "http": {
                        "url": endpoint.url + "/ingest",
                        "headers": [{"key": "X-Iot-Secret", "value": header}],
                        "enableBatching": True,
                    }
                }
            ],
            "errorAction": {"sqs": {"queueUrl": url, "roleArn": role, "useBase64": False}},
        },
    )
    await asyncio.to_thread(_run, deployment, endpoint, arn, url)


def _run(deployment: Deployment, endpoint: Endpoint, certificate_arn: str, queue: str) -> None:
    payload = b'{"deviceId": "sensor-1", "temp": 21.50, "other": 1}'
    with (
        program(deployment.emulator, *deployment.synchronizer()),  # type: ignore[arg-type]
        program(deployment.emulator, *deployment.engine()),  # type: ignore[arg-type]
    ):
        until(deployment.healthy, 30, "the rules engine is not healthy")
        until(lambda: deployment.admitted("sensor-1"), 20, "the device is not admitted")
        with deployment.device("sensor-1") as device:
            assert device.publish("things/telemetry", payload) == "Success"
            until(lambda: bool(endpoint.requests), otherwise="nothing reaches the endpoint")
            (reading,) = endpoint.requests[0].json
            assert reading["deviceId"] == reading["iot_client_id"] == "sensor-1"
            assert b"21.50" in endpoint.requests[0].body
            assert set(reading) == {"deviceId", "temp", "iot_client_id", "iot_trace_id"}
            assert endpoint.requests[0].headers["X-Iot-Secret"] == "abc"

            endpoint.answers[:] = [Answer(422)]
            assert device.publish("things/telemetry", payload) == "Success"
            letter = deployment.emulator.receive(queue)
            assert letter["payloadsWithMetadata"][0]["clientId"] == "sensor-1"
            assert letter["failures"][0]["errorMessage"].endswith("StatusCode: 422. Reason: Unprocessable Entity.")

            identifier = certificate_arn.rsplit("/", 1)[-1]
            deployment.iot.update_certificate(certificateId=identifier, newStatus="REVOKED")
            assert device.disconnected.wait(10), "a revoked certificate keeps its connection"
        assert not deployment.admitted("sensor-1")
