"""Payloads of every form from an MQTT client that is not ours: each reading is a row, everything else a dead letter."""

import json
import re
import time
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.deployment.conftest import TABLE, Kubectl, Playbook
from tests.deployment.kit import THING, Device
from tests.deployment.outage import told
from tests.deployment.telemetry import TOPIC, telemetry

Aws = Callable[[str], Any]
Item = dict[str, dict[str, Any]]
RUN = uuid.uuid4().hex[:8]
SECOND = int(time.time())
AT = datetime.fromtimestamp(SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
RULE = "forward_to_alb"
# The rule before the envelope: it named the members of a reading, and finds none in a pack of them. So nothing may
# publish packs meanwhile; site.yml changes the rule before the devices.
NAMED = ("SELECT deviceId, temp, ts, messageId, timestamp() AS iot_received_at, traceid() AS iot_trace_id, "
         "clientid() AS iot_client_id FROM 'things/telemetry'")


def reading(name: str, members: str = '"temp":21.5', ts: str = f'"{AT}"', device: str = THING) -> bytes:
    """A reading with a message id of its own, to be found by."""
    return f'{{"deviceId":"{device}",{members},"ts":{ts},"messageId":"{RUN}-{name}"}}'.encode()


def pack(name: str, temps: list[str]) -> list[bytes]:
    return [reading(f"{name}-{place}", f'"temp":{temp}') for place, temp in enumerate(temps)]


PACK = pack("pack", ["0", "1", '"warm"', "3", "NaN", "5", "6", "7", "8", "9"])
PACK[9] = b'{"deviceId":"kit-1","temperature":9}'
BAD = {2: "temp is not a number", 4: "NaN is no JSON number", 9: "temp is missing; the message has temperature"}
WIDE = "12345678901234567890123456789012345678"

# By name: what is published, and the temperature of each row by its message's name.
STORED: dict[str, tuple[bytes, dict[str, str]]] = {
    "38 digits": (reading("wide", f'"temp":{WIDE}'), {"wide": WIDE}),
    "38 digits of a fraction": (reading("fine", f'"temp":-0.{WIDE}'), {"fine": f"-0.{WIDE}"}),
    "white space around it": (b" \t\r\n" + reading("space") + b"\r\n ", {"space": "21.5"}),
    "white space in it": (reading("inside", '"temp" : \t21.5 '), {"inside": "21.5"}),
    "duplicate members": (reading("twice", '"temp":1,"temp":2'), {"twice": "2"}),
    "members of others": (reading("more", '"temp":1,"iot_client_id":"x","iot_payload":"e30=","deep":[[{}]]'),
                          {"more": "1"}),
    "escaped names": (reading("escaped", '"\\u0074emp":3'), {"escaped": "3"}),
    "ts as text": (reading("text"), {"text": "21.5"}),
    "ts in milliseconds": (reading("milliseconds", ts=f"{SECOND}000"), {"milliseconds": "21.5"}),
    "ts in seconds": (reading("seconds", ts=f"{SECOND}"), {"seconds": "21.5"}),
    "an array of one": (b"[" + reading("one") + b"]", {"one": "21.5"}),
    "the readings of a pack": (b" [" + b" , ".join(PACK) + b"]\n",
                               {f"pack-{place}": str(place) for place in range(10) if place not in BAD}),
}  # fmt: skip
# By name: what is published, which is the dead letter's message, too, and the reason.
REJECTED: dict[str, tuple[bytes, str]] = {
    "other names": (b'{"deviceId":"kit-1","temperature":21.5,"humidity":40}',
                    "temp is missing; the message has temperature, humidity"),
    "a door": (b'{"deviceId":"kit-1","door":true}', "temp is missing; the message has door"),
    "NaN": (b'{"deviceId":"kit-1","temp":NaN}', "NaN is no JSON number"),
    "numbers": (b"[1,2]", "the payload is an array without a reading in it"),
    "an empty array": (b"[]", "the payload is an array without a reading in it"),
    "nothing": (b"", "the message is empty"),
    "white space": (b" \n", "the message is empty"),
    "no text": (b"\xff\xfe", "malformed"),
    "zeros": (bytes(16), "malformed"),
    "no UTF-8": (b'{"deviceId":"kit-1","temp":1,"messageId":"\xff"}', "the message is not UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf" + reading("mark"), "malformed"),
    "UTF-16": (reading("wide-text").decode().encode("utf-16"), "malformed"),
    "120 KB of arrays": (b"[" * 60_000 + b"]" * 60_000, "the payload is an array without a reading in it"),
    "120 KB of open arrays": (b"[" * 120_000, "the payload is not JSON"),
    "39 digits": (reading("too-wide", f'"temp":{WIDE}9'), "temp is beyond 38 digits"),
    "half a reading": (reading("half")[:-1], "truncated"),
    "two readings": (reading("first") + b"\n" + reading("second"), "trailing characters"),
    "null": (b"null", "Expected `object`, got `null`"),
    "a string": (b'"21.5"', "Expected `object`, got `str`"),
    "null as temp": (reading("null", '"temp":null'), "temp is not a number"),
    "no device": (b'{"temp":1}', "deviceId is missing; the message has temp"),
    "another device": (reading("forged", device="iot-verify"), "deviceId is not the client id of its publisher"),
    "no time": (reading("late", ts='"yesterday"'), "ts is not an RFC 3339 time"),
}  # fmt: skip


@dataclass(frozen=True)
class DeadLetter:
    """A message on the receiver's queue."""

    identity: str
    receipt: str
    content: dict[str, Any]

    @property
    def message(self) -> bytes:
        return b64decode(self.content["base64Message"])

    @property
    def kind(self) -> tuple[str, str]:
        return self.content["clientId"], self.content["reason"]


def queue_url(aws: Aws, name: str) -> str:
    [url] = [url for url in aws("sqs").list_queues()["QueueUrls"] if url.endswith(f"/iot-receiver-{name}-dead-letters")]
    return str(url)


def on_queue(aws: Aws) -> dict[str, DeadLetter]:
    """The receiver's dead letters, each left on its queue."""
    sqs, url = aws("sqs"), queue_url(aws, "receiver")
    found: dict[str, DeadLetter] = {}
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=60).get("Messages"):
        for each in messages:
            found[each["MessageId"]] = DeadLetter(each["MessageId"], each["ReceiptHandle"], json.loads(each["Body"]))
    for letter in found.values():
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=letter.receipt, VisibilityTimeout=0)
    return found


def rows(aws: Aws) -> list[Item]:
    """The kit's rows."""
    pages = aws("dynamodb").get_paginator("query").paginate(
        TableName=TABLE, KeyConditionExpression="deviceId = :d", ConsistentRead=True,
        ExpressionAttributeValues={":d": {"S": THING}})
    return [item for page in pages for item in page["Items"]]


def rows_of(aws: Aws, name: str) -> list[Item]:
    return [item for item in rows(aws) if item["Time"]["S"].endswith(f"#{RUN}-{name}")]


def publish(kit: Path, *payloads: bytes) -> None:
    """Publish as the kit's thing, each acknowledged."""
    device = Device(kit, THING).open()
    try:
        assert device.connected.wait(10)
        for payload in payloads:
            device.client.publish(TOPIC, payload, qos=1).wait_for_publish(10)
        assert not device.refused.is_set()
    finally:
        device.close()


def wait_until(true: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something is true, or the time is over: what comes next asserts it."""
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.5)


@pytest.fixture(scope="module")
def kept(aws: Aws, kit: Path) -> Iterator[list[DeadLetter]]:
    """Publish every payload; the dead letters that came of them, deleted in the end."""
    before = on_queue(aws).keys()
    payloads = [payload for payload, _ in [*STORED.values(), *REJECTED.values()]]
    publish(kit, *payloads)
    wanted = len(REJECTED) + len(BAD)
    wait_until(lambda: len(on_queue(aws).keys() - before) >= wanted)
    time.sleep(1)  # for one too many
    found = [letter for identity, letter in on_queue(aws).items() if identity not in before]
    yield found
    ours, sqs, url = {letter.identity for letter in found}, aws("sqs"), queue_url(aws, "receiver")
    for letter in on_queue(aws).values():
        if letter.identity in ours:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=letter.receipt)


def test_every_payload_has_one_outcome(kept: list[DeadLetter], aws: Aws) -> None:
    assert len(kept) == len(REJECTED) + len(BAD)
    ours = [item["Time"]["S"] for item in rows(aws) if f"#{RUN}-" in item["Time"]["S"]]
    assert len(ours) == sum(len(temperatures) for _, temperatures in STORED.values())


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("what", STORED)
def test_a_reading_is_one_row_with_its_exact_value_and_time(aws: Aws, what: str) -> None:
    for name, temperature in STORED[what][1].items():
        [row] = rows_of(aws, name)
        assert row["temperature"] == {"N": temperature}
        assert row["Time"] == {"S": f"{AT}#{RUN}-{name}"}


@pytest.mark.parametrize("what", REJECTED)
def test_what_is_no_reading_is_kept_to_the_byte_with_device_and_reason(kept: list[DeadLetter], what: str) -> None:
    payload, reason = REJECTED[what]
    [letter] = [letter for letter in kept if letter.message == payload]
    assert letter.content["clientId"] == THING
    assert reason in letter.content["reason"]


@pytest.mark.parametrize("place", BAD)
def test_a_bad_reading_of_a_pack_is_kept_alone(kept: list[DeadLetter], place: int) -> None:
    [letter] = [letter for letter in kept if letter.message == PACK[place]]
    assert letter.content["clientId"] == THING
    assert BAD[place] in letter.content["reason"]
    assert letter.content["place"] == place


def test_they_are_listed_by_device_and_reason(kept: list[DeadLetter], playbook: Playbook) -> None:
    listed = playbook("playbooks/redrive.yml", "--check")
    assert (listed.status, listed.changed) == (0, 0), listed.output[-4000:]
    output = " ".join(listed.output.split())
    for letter in kept:
        assert re.search(rf"receiver, {THING}: \d+ x {re.escape(letter.content['reason'])} ", output)
    assert "[" * 200 in output
    assert "[" * 201 not in output
    assert REJECTED["other names"][0].decode() in output


def test_one_kind_is_dropped_and_no_other(kept: list[DeadLetter], aws: Aws, playbook: Playbook) -> None:
    [nan] = [letter for letter in kept if letter.message == REJECTED["NaN"][0]]
    before = on_queue(aws)
    kind = {"queue": "receiver", "reason": nan.content["reason"], "device": THING}
    dropped = playbook("playbooks/redrive.yml", "-e", json.dumps({"dead_letters_drop": kind}))
    assert dropped.status == 0, dropped.output[-4000:]
    after = on_queue(aws).keys()
    assert nan.identity not in after
    gone = {identity for identity, letter in before.items() if letter.kind == nan.kind}
    assert before.keys() - after == gone


DECLARED = {
    "temp": {"attribute": "temperature", "type": "number"},
    "humidity": {"attribute": "humidity", "type": "number", "minimum": 0, "maximum": 100, "unit": "%"},
    "door": {"attribute": "door_open", "type": "boolean"},
}
RESTORED = ("playbooks/receiver.yml", "playbooks/iot.yml", "--tags", "receiver,iot_core")


def settings(kubectl: Kubectl) -> Any:
    """The receiver's environment."""
    deployment = kubectl("get", "deployment", "iot-receiver", "-n", "apps")
    return deployment["spec"]["template"]["spec"]["containers"][0]["env"]


@pytest.fixture(scope="module")
def declared(
    kept: list[DeadLetter], playbook: Playbook, aws: Aws, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A receiver that takes humidity and door, once there are dead letters of them; gives its settings of before."""
    assert kept
    before, rule = settings(kubectl), aws("iot").get_topic_rule(ruleName=RULE)["rule"]
    file = tmp_path_factory.mktemp("measurements") / "measurements.yml"
    file.write_text(yaml.safe_dump({"measurements": DECLARED}))
    done = playbook("playbooks/receiver.yml", "--tags", "receiver", "-e", f"@{file}")
    try:
        assert done.status == 0, done.output[-4000:]
        assert settings(kubectl) != before
        yield before
    finally:
        if settings(kubectl) != before or aws("iot").get_topic_rule(ruleName=RULE)["rule"]["sql"] != rule["sql"]:
            assert playbook(*RESTORED).status == 0


def former_rows(aws: Aws) -> list[Item]:
    """The rows of what `former` stores."""
    return [row for row in rows(aws) if row["Time"]["S"].endswith((f"#{RUN}-former", f"#{RUN}-trace"))]


@pytest.fixture
def former(aws: Aws, https: httpx.Client, secret: str) -> list[Item]:
    """Rows of two readings in the form that named the members, each a dead letter on both queues as well."""
    added = {"iot_received_at": SECOND * 1000 + 7, "iot_trace_id": f"{RUN}-trace", "iot_client_id": THING}
    for message in (json.loads(reading("former")), {"deviceId": THING, "temp": 4.5}):
        assert https.post("/ingest", json=message | added, headers={"X-Iot-Secret": secret}).status_code == 200
        own = {"source": "iot-receiver", "reason": "temp is missing", "receivedAt": AT, "clientId": THING,
               "base64Message": b64encode(json.dumps(message | added).encode()).decode()}
        rules = {"ruleName": RULE, "topic": TOPIC, "clientId": THING, "cloudwatchTraceId": f"{RUN}-trace",
                 "base64OriginalPayload": b64encode(json.dumps(message).encode()).decode(), "failures": []}
        for name, content in (("receiver", own), ("rule", rules)):
            aws("sqs").send_message(QueueUrl=queue_url(aws, name), MessageBody=json.dumps(content))
    return former_rows(aws)


@pytest.mark.usefixtures("declared")
def test_once_declared_they_are_rows_and_dead_letters_are_redriven_into_one_row_each(
    kept: list[DeadLetter], kit: Path, aws: Aws, former: list[Item], playbook: Playbook
) -> None:
    [default] = rows_of(aws, "text")
    publish(kit, reading("text"), reading("declared", '"temperature":21.5,"humidity":40'))
    wait_until(lambda: rows_of(aws, "declared") and rows_of(aws, "text")[0]["received_at"] != default["received_at"])
    [row] = rows_of(aws, "declared")
    assert row.keys() == {"deviceId", "Time", "humidity", "received_at"}
    assert row["humidity"] == {"N": "40"}
    assert [each | {"received_at": default["received_at"]} for each in rows_of(aws, "text")] == [default]
    assert len(former) == 2

    done = playbook("playbooks/redrive.yml")
    assert min(told(done, queue)["already_stored"] for queue in ("rule", "receiver")) >= 2
    assert former_rows(aws) == former
    after = on_queue(aws)
    for what, attribute, value in (("other names", "humidity", {"N": "40"}), ("a door", "door_open", {"BOOL": True})):
        [letter] = [letter for letter in kept if letter.message == REJECTED[what][0]]
        [row] = [item for item in rows(aws) if item.get("trace_id") == {"S": letter.content["traceId"]}]
        assert row[attribute] == value
        assert letter.identity not in after
    still = {REJECTED[what][0] for what in ("numbers", "nothing", "no text", "120 KB of arrays", "another device")}
    assert still <= {letter.message for letter in after.values()}


def test_rule_and_receiver_change_under_load_without_loss(
    declared: Any, aws: Aws, kubectl: Kubectl, playbook: Playbook, tmp_path: Path
) -> None:
    iot = aws("iot")
    rule = {key: value for key, value in iot.get_topic_rule(ruleName=RULE)["rule"].items()
            if key not in {"ruleName", "createdAt"}}
    assert "encode(*" in rule["sql"]
    iot.replace_topic_rule(ruleName=RULE, topicRulePayload=rule | {"sql": NAMED})
    with telemetry(aws, tmp_path, 100) as load:
        time.sleep(2)  # the rules engine looks at the IoT API each second
        done = playbook(*RESTORED)
        time.sleep(2)
        load.stop()
        assert done.status == 0, done.output[-4000:]
        assert load.missing(30) == []
        assert [name for name, count in load.rows().items() if count > 1] == []
        assert load.published > 100 * 10
    assert settings(kubectl) == declared
    assert iot.get_topic_rule(ruleName=RULE)["rule"]["sql"] == rule["sql"]
