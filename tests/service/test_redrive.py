"""Dead letters become the rows that their messages would have been, once; what is no reading stays on its queue."""

import asyncio
import json
import time
import uuid
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import botocore.session
import pytest
from aiobotocore.session import get_session
from botocore.exceptions import ClientError
from iot_receiver import __main__
from iot_receiver import queues as sqs
from iot_receiver.environment import SettingsError
from iot_receiver.measurements import declared
from iot_receiver.redrive import command, run, stored
from iot_receiver.settings import RedriveSettings

from tests.service.faults import Faults
from tests.service.harness import REGION, Make, Table


def encoded(content: Any) -> str:
    return b64encode(content if isinstance(content, bytes) else json.dumps(content).encode()).decode()


def publication(content: Any, client: str | None = "d", trace: str | None = None) -> dict[str, Any]:
    """One message as the error action describes it."""
    described = {"cloudwatchTraceId": trace or str(uuid.uuid4()), "base64OriginalPayload": encoded(content)}
    return described | ({"clientId": client} if client else {})


def single(content: Any, client: str | None = "d", trace: str | None = None) -> dict[str, Any]:
    """A dead letter of the error action for one message."""
    failure = {"failedAction": "HttpAction", "failedResource": "https://x/ingest", "errorMessage": "HTTP 503"}
    return {
        "ruleName": "forward_to_alb",
        "topic": "things/telemetry",
        **publication(content, client, trace),
        "failures": [failure],
    }


def batch(*publications: dict[str, Any]) -> dict[str, Any]:
    """A dead letter of the error action for messages that were sent together."""
    ids = [str(number) for number in range(1, len(publications) + 1)]
    return {
        "ruleName": "forward_to_alb",
        "topic": "things/telemetry",
        "payloadsWithMetadata": [{"id": id_, **each} for id_, each in zip(ids, publications, strict=True)],
        "failures": [{"affectedIds": ids, "failedAction": "HttpAction", "errorMessage": "HTTP 503"}],
    }


def own(content: Any) -> dict[str, Any]:
    """A dead letter of the receiver."""
    return {
        "source": "iot-receiver",
        "reason": "temp is missing",
        "receivedAt": "2026-01-31T12:00:00.250Z",
        "base64Message": encoded(content),
    }


@dataclass
class Queues:
    """The two queues, and redrives of them."""

    client: Any
    rule: str
    receiver: str
    table: str

    def put(self, *letters: Any, queue: str = "rule") -> None:
        for letter in letters:
            body = letter if isinstance(letter, str) else json.dumps(letter)
            self.client.send_message(QueueUrl=getattr(self, queue), MessageBody=body)

    def visible(self, queue: str = "rule") -> int:
        return self._count(queue, "ApproximateNumberOfMessages")

    def hidden(self, queue: str = "rule") -> int:
        return self._count(queue, "ApproximateNumberOfMessagesNotVisible")

    def _count(self, queue: str, name: str) -> int:
        answer = self.client.get_queue_attributes(QueueUrl=getattr(self, queue), AttributeNames=[name])
        return int(answer["Attributes"][name])

    async def redrive(
        self,
        stopping: asyncio.Event | None = None,
        action: str = "run",
        drops: run.Kind | None = None,
        **settings: Any,
    ) -> "Result":
        known: dict[str, Any] = {
            "aws_region": REGION,
            "table_name": self.table,
            "queues": {"rule": self.rule, "receiver": self.receiver},
        }
        said: list[dict[str, Any]] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(command, "event", lambda name, _message, **fields: said.append({"event": name, **fields}))
            status = await command.redrive(
                RedriveSettings(**(known | settings)), get_session(), stopping or asyncio.Event(), action, drops
            )
        [finished] = said
        assert (
            finished["event"]
            == {
                "run": "redrive_finished",
                "list": "redrive_listed",
                "drop": "redrive_dropped",
            }[action]
        )
        return Result(status, finished["problem"], finished["queues"])


@dataclass
class Result:
    """The result that a redrive ended with."""

    status: int
    problem: str
    queues: dict[str, dict[str, Any]]

    def numbers(self, queue: str = "rule") -> tuple[int, int, int, int]:
        """Redriven, already stored, rejected, left."""
        numbers = self.queues[queue]
        return numbers["redriven"], numbers["already_stored"], numbers["rejected"], numbers["left"]


@pytest.fixture
def queues(table: Table) -> Iterator[Queues]:
    client: Any = botocore.session.get_session().create_client("sqs", region_name=REGION)
    urls: list[str] = [client.create_queue(QueueName=f"{name}-{uuid.uuid4()}")["QueueUrl"] for name in "ab"]
    yield Queues(client, urls[0], urls[1], table.name)
    for url in urls:
        client.delete_queue(QueueUrl=url)
    client.close()


def reading(number: int = 0, **members: Any) -> dict[str, Any]:
    return {"deviceId": "d", "temp": 21.5, "ts": 1769860800000 + number, "messageId": f"m{number}"} | members


async def test_every_form_of_dead_letter_becomes_rows(queues: Queues, table: Table) -> None:
    queues.put(
        single(reading(0)),
        batch(*(publication(reading(number)) for number in range(1, 8))),
        b64encode(json.dumps(single(reading(8))).encode()).decode(),  # the error action's useBase64
    )
    queues.put(own(reading(9)), queue="receiver")
    result = await queues.redrive()
    assert (result.status, result.problem) == (0, "")
    assert result.numbers() == (9, 0, 0, 0)
    assert result.numbers("receiver") == (1, 0, 0, 0)
    assert [row["Time"]["S"] for row in table.rows()] == [f"2026-01-31T12:00:00.00{n}Z#m{n}" for n in range(10)]
    assert queues.visible() + queues.hidden() + queues.visible("receiver") + queues.hidden("receiver") == 0

    again = await queues.redrive()
    assert again.numbers() == again.numbers("receiver") == (0, 0, 0, 0)


async def test_retry_redelivery_and_redrive_are_one_row(make_receiver: Make, queues: Queues, table: Table) -> None:
    receiver = await make_receiver()
    sent = reading(temp=21)
    del sent["messageId"]  # a digest of its members is its id
    forwarded = {"iot_received_at": 1769860800100, "iot_trace_id": "t-1", "iot_client_id": "d"}
    for _ in range(2):
        assert (await receiver.send(sent | forwarded)).status == 200
    [before] = table.rows()
    written_differently = b'{ "temp": 21.0, "ts": "2026-01-31T13:00:00.000+01:00", "deviceId": "d", "other": [1] }'
    queues.put(single(written_differently), batch(publication(sent), publication(written_differently)))
    assert (await queues.redrive()).numbers() == (0, 3, 0, 0)
    assert table.rows() == [before]


async def test_what_was_redriven_stays_when_its_device_sends_it_again(
    make_receiver: Make, queues: Queues, table: Table
) -> None:
    receiver = await make_receiver(retention_days=30)
    queues.put(single(reading()))
    assert (await queues.redrive(retention_days=30)).numbers() == (1, 0, 0, 0)
    [before] = table.rows()
    forwarded = {"iot_received_at": time.time_ns() // 1_000_000 + 60_000, "iot_client_id": "d"}
    assert (await receiver.send(reading() | forwarded)).status == 200
    queues.put(single(reading()))
    assert (await queues.redrive(retention_days=30)).numbers() == (0, 1, 0, 0)
    assert table.rows() == [before]


async def test_one_message_in_several_dead_letters_is_one_row(queues: Queues, table: Table) -> None:
    queues.put(single(reading()), batch(publication(reading()), publication(reading(1))), single(reading()))
    assert (await queues.redrive()).numbers() == (2, 2, 0, 0)
    assert len(table.rows()) == 2


async def test_a_message_without_time_is_found_by_its_trace(make_receiver: Make, queues: Queues, table: Table) -> None:
    receiver = await make_receiver()
    sent = {"deviceId": "d", "temp": 1}
    now = time.time_ns() // 1_000_000
    for received_at, trace in ((now, "t-new"), (1769860800123, "t-old")):
        forwarded = {"iot_received_at": received_at, "iot_trace_id": trace, "iot_client_id": "d"}
        assert (await receiver.send(sent | forwarded)).status == 200
    before = table.rows()
    queues.put(single(sent, trace="t-new"), batch(publication(sent, trace="t-old")))
    assert (await queues.redrive()).numbers() == (0, 2, 0, 0)
    assert table.rows() == before


async def test_messages_without_time_that_never_arrived_are_one_row_each(queues: Queues, table: Table) -> None:
    sent = {"deviceId": "d", "temp": 1}
    letters = [batch(*(publication(sent, trace=f"t-{n}-{m}") for m in range(10))) for n in range(12)]
    queues.put(*letters)
    assert (await queues.redrive()).numbers() == (120, 0, 0, 0)
    assert len({row["trace_id"]["S"] for row in table.rows()}) == len(table.rows()) == 120
    queues.put(*letters)  # SQS may deliver twice; an error action may be tried again
    assert (await queues.redrive()).numbers() == (0, 120, 0, 0)
    assert len(table.rows()) == 120


async def test_receipt_time_tables_are_not_doubled_either(make_receiver: Make, queues: Queues, table: Table) -> None:
    receiver = await make_receiver(table_schema="receipt_time")
    forwarded = {"iot_received_at": 1769860800100, "iot_trace_id": "t-1", "iot_client_id": "d"}
    assert (await receiver.send(reading() | forwarded)).status == 200
    queues.put(single(reading(), trace="t-1"), single(reading(1), trace="t-2"))
    assert (await queues.redrive(table_schema="receipt_time")).numbers() == (1, 1, 0, 0)
    queues.put(single(reading(1), trace="t-2"))
    assert (await queues.redrive(table_schema="receipt_time")).numbers() == (0, 1, 0, 0)
    assert len(table.rows()) == 2


async def test_a_device_cannot_pass_as_another_by_a_dead_letter(queues: Queues, table: Table) -> None:
    forged = reading() | {"iot_client_id": "d", "iot_received_at": 0, "iot_trace_id": "forged"}
    queues.put(single(forged, client="thief"), single(forged, client="n/a"), single(forged, client=None))
    result = await queues.redrive()
    assert result.numbers() == (0, 0, 3, 0)
    assert result.queues["rule"]["reasons"] == {
        "deviceId is not the client id of its publisher": 2,
        "the dead letter does not say which client published it": 1,
    }
    assert table.rows() == []
    assert (await queues.redrive(device_id_check="off")).numbers() == (3 - 2, 2, 0, 0)


async def test_members_that_a_device_forged_do_not_count(queues: Queues, table: Table) -> None:
    forged = {"deviceId": "d", "temp": 1, "iot_received_at": 0, "iot_trace_id": "forged"}
    queues.put(single(forged, trace="true"))
    await queues.redrive()
    [row] = table.rows()
    assert row["trace_id"] == {"S": "true"}
    assert not row["Time"]["S"].startswith("1970")


async def test_rejected_messages_stay_and_are_reported(queues: Queues, table: Table) -> None:
    bad = [
        single({"deviceId": "d"}),
        single(b"\xff\xfe"),
        single(b"[1, 2]"),
        batch(publication(reading(1)), publication({"deviceId": "d", "temp": "hot"}), publication(reading(2))),
        batch(),
        "no JSON at all",
        {"some": "other message"},
        {"base64OriginalPayload": "%%%"},
        {"base64Message": 7},
    ]
    queues.put(*bad)
    queues.put(own({"deviceId": "d", "temp": True}), queue="receiver")
    started = time.monotonic()
    result = await queues.redrive()
    assert time.monotonic() - started < 15
    assert result.status == 0
    assert result.numbers() == (2, 0, 9, 0)
    assert result.numbers("receiver") == (0, 0, 1, 0)
    assert result.queues["rule"]["reasons"]["temp is not a number"] == 1
    assert sum(result.queues["rule"]["reasons"].values()) == 9
    assert len(result.queues["rule"]["kept"]) == 9
    assert (queues.visible(), queues.hidden()) == (9, 0)  # at once, for whoever looks into it
    assert (queues.visible("receiver"), queues.hidden("receiver")) == (1, 0)
    assert len(table.rows()) == 2

    before = table.rows()
    again = await queues.redrive()
    assert again.numbers() == (0, 2, 9, 0)
    assert table.rows() == before
    assert queues.visible() == 9


@pytest.mark.parametrize(
    ("operation", "action"),
    [("ReceiveMessage", "sqs:ReceiveMessage"), ("DeleteMessageBatch", "sqs:DeleteMessage"),
     ("BatchGetItem", "dynamodb:BatchGetItem")],
)  # fmt: skip
async def test_a_missing_permission_ends_the_redrive_and_is_named(
    queues: Queues, table: Table, monkeypatch: pytest.MonkeyPatch, operation: str, action: str
) -> None:
    async def refuse(*_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "for reasons"}}, operation)

    monkeypatch.setattr(sqs.Queue, "take", refuse)
    queues.put(single(reading(1)))
    result = await queues.redrive()
    assert (result.status, result.problem) == (1, f"AWS refuses {action}: AccessDenied")
    assert table.rows() == []


@pytest.fixture
def shaky(faults: Faults, dynamodb_url: str) -> Faults:
    """DynamoDB Local, with writes at fault."""
    faults.target = dynamodb_url
    return faults


async def test_nothing_is_deleted_before_its_row_is_stored(
    shaky: Faults, queues: Queues, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "STORE_SECONDS", 0.3)
    monkeypatch.setattr(run, "STORE_TRIES", 2)
    monkeypatch.setattr(sqs, "VISIBILITY_SECONDS", 1)
    queues.put(*(single(reading(number)) for number in range(5)))
    shaky.failed_calls = 1.0
    result = await queues.redrive()
    assert result.status == 1
    assert "DynamoDB takes no rows" in result.problem
    assert result.numbers() == (0, 0, 0, 5)
    assert queues.visible() + queues.hidden() == 5

    shaky.failed_calls = 0.0
    assert (await queues.redrive()).numbers() == (5, 0, 0, 0)
    assert len(table.rows()) == 5


async def test_throttling_and_failures_are_retried(shaky: Faults, queues: Queues, table: Table) -> None:
    shaky.failed_calls, shaky.throttled_items = 0.05, 0.3
    queues.put(*(batch(*(publication(reading(10 * n + m)) for m in range(10))) for n in range(30)))
    assert (await queues.redrive()).numbers() == (300, 0, 0, 0)
    assert len(table.rows()) == 300


async def test_an_item_that_dynamodb_refuses_is_kept_alone(shaky: Faults, queues: Queues, table: Table) -> None:
    shaky.refuse_device = "bad"
    queues.put(single(reading(1)), single(reading(2) | {"deviceId": "bad"}, client="bad"), single(reading(3)))
    result = await queues.redrive()
    assert result.numbers() == (2, 0, 1, 0)
    assert queues.visible() == 1
    assert len(table.rows()) == 2


async def test_killed_between_storing_and_deleting_it_ends_right_when_run_again(
    queues: Queues, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqs, "VISIBILITY_SECONDS", 3)
    sent = [single({"deviceId": "d", "temp": number}) for number in range(20)]
    queues.put(*sent, *(single(reading(number)) for number in range(20)))

    async def killed(*_: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(sqs.Queue, "delete", killed)
        with pytest.raises(RuntimeError):
            await queues.redrive()
    before = table.rows()
    assert before
    # what the killed run had taken is still hidden: it is waited for
    result = await queues.redrive()
    redriven, already, rejected, left = result.numbers()
    assert (redriven + already, rejected, left) == (40, 0, 0)
    assert already == len(before)
    rows = table.rows()
    assert len(rows) == 40
    assert [row for row in rows if row in before] == before
    assert queues.visible() + queues.hidden() == 0


async def test_what_comes_after_the_start_is_left_for_the_next_run(
    queues: Queues, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sqs.Queue.take

    async def take(queue: sqs.Queue) -> list[sqs.QueuedMessage]:
        queues.put(single(reading(len(sent := table.rows()) + 100 + queues.visible() + queues.hidden())))
        assert len(sent) < 50
        return await real(queue)

    queues.put(single(reading(0)))
    await asyncio.sleep(0.01)
    with monkeypatch.context() as patch:
        patch.setattr(sqs.Queue, "take", take)
        patch.setattr(run, "KEPT_MOST", 20)
        result = await queues.redrive(queues={"rule": queues.rule})
    redriven, _, rejected, left = result.numbers()
    assert (redriven, rejected) == (1, 0)
    assert left == queues.visible() >= 20
    assert (await queues.redrive()).numbers()[0] == left


async def test_sigterm_ends_it_after_the_current_round(queues: Queues, table: Table) -> None:
    queues.put(*(single(reading(number)) for number in range(30)))
    stopping = asyncio.Event()
    stopping.set()
    result = await queues.redrive(stopping)
    assert result.status == 1
    assert "run again" in result.problem
    assert result.numbers() == (0, 0, 0, 30)
    assert queues.visible() == 30


async def test_a_queue_that_is_not_there_is_named(queues: Queues, table: Table) -> None:
    result = await queues.redrive(queues={"rule": queues.rule + "-gone"})
    assert result.status == 1
    assert "GetQueueAttributes" in result.problem
    assert "NonExistentQueue" in result.problem or "QueueDoesNotExist" in result.problem


async def test_two_thousand_readings_are_redriven(queues: Queues, table: Table) -> None:
    for start in range(0, 200, 10):
        entries = [
            {"Id": str(n), "MessageBody": json.dumps(batch(*(publication(reading(10 * n + m)) for m in range(10))))}
            for n in range(start, start + 10)
        ]
        queues.client.send_message_batch(QueueUrl=queues.rule, Entries=entries)
    redriven, _again, rejected, left = (await queues.redrive()).numbers()  # a queue may give a dead letter twice
    assert (redriven, rejected, left) == (2_000, 0, 0)
    assert len(table.rows()) == 2_000


MOIST = {"deviceId": "d", "temperature": 21.5, "humidity": 40, "ts": 1769860800000, "messageId": "m"}
DECLARED = declared('{"temperature":{},"humidity":{}}')


def of_envelope(message: bytes, place: int | None = None, client: str | None = "d") -> dict[str, Any]:
    """A dead letter of the receiver for a payload that came in an envelope."""
    members = {"envelope": True, "clientId": client, "traceId": "t-1", "iotReceivedAt": 1769860800456, "place": place}
    return own(message) | members


async def test_what_the_schema_refused_is_a_row_once_it_allows_it(queues: Queues, table: Table) -> None:
    """The same reading in all three kinds of dead letter is the same row, and none of them is left."""
    queues.put(single(MOIST), batch(publication([MOIST, MOIST | {"messageId": "n"}])))
    queues.put(
        of_envelope(json.dumps(MOIST).encode()), of_envelope(b"[" + json.dumps(MOIST).encode() + b"]"), queue="receiver"
    )
    refused = await queues.redrive()
    assert (refused.numbers(), refused.numbers("receiver")) == ((0, 0, 3, 0), (0, 0, 2, 0))
    assert list(refused.queues["rule"]["reasons"]) == ["temp is missing; the message has temperature, humidity"]
    allowed = await queues.redrive(measurements=DECLARED)
    assert (allowed.numbers(), allowed.numbers("receiver")) == ((2, 1, 0, 0), (0, 2, 0, 0))
    rows = table.rows()
    assert [row["Time"]["S"] for row in rows] == ["2026-01-31T12:00:00.000Z#m", "2026-01-31T12:00:00.000Z#n"]
    assert all((row["temperature"], row["humidity"]) == ({"N": "21.5"}, {"N": "40"}) for row in rows)


async def test_a_dead_letter_without_time_keeps_its_publish(make_receiver: Make, queues: Queues, table: Table) -> None:
    """One reading of a pack was refused; its neighbours are stored under the same publish's time and id."""
    receiver = await make_receiver(dead_letter_queue_url=queues.receiver)
    payload = b'[{"deviceId":"d","temp":1},{"deviceId":"d","humidity":2},{"deviceId":"d","temp":3}]'
    forwarded = {"iot_payload": encoded(payload), "iot_received_at": 1769860800456, "iot_trace_id": "t-1"}
    response = await receiver.send([forwarded | {"iot_client_id": "d"}])
    assert (await response.json())["stored"] == 2
    both = declared('{"temp":{"attribute":"temperature"},"humidity":{}}')
    assert (await queues.redrive(measurements=both)).numbers("receiver") == (1, 0, 0, 0)
    assert [row["Time"]["S"] for row in table.rows()] == [f"2026-01-31T12:00:00.456Z#t-1-{n}" for n in range(3)]
    # and the whole publish, from the rule's queue, is the same three rows
    queues.put(single(payload, trace="t-1"))
    assert (await queues.redrive(measurements=both)).numbers() == (0, 3, 0, 0)
    assert len(table.rows()) == 3


async def test_a_device_can_not_pass_as_another_by_the_receivers_queue(queues: Queues, table: Table) -> None:
    queues.put(of_envelope(json.dumps(reading()).encode(), client="thief"), queue="receiver")
    assert (await queues.redrive()).numbers("receiver") == (0, 0, 1, 0)
    assert table.rows() == []


async def test_the_list_changes_nothing_and_shows_each_kind(queues: Queues, table: Table) -> None:
    long = json.dumps({"deviceId": "d", "temperature": 1, "note": "x" * 300}).encode()
    queues.put(single(reading()), single(long), single(long), single(b"\xff\xfe", client="e"), "no JSON at all")
    queues.put(of_envelope(b"[1, 2]", client="f"), queue="receiver")
    for _ in range(2):
        listed = await queues.redrive(action="list")
        assert listed.status == 0
        rule = listed.queues["rule"]
        assert (rule["letters"], rule["storable"], rule["rejected"], rule["left"]) == (5, 1, 4, 0)
        kinds = {(kind["device"], kind["reason"]): kind for kind in rule["kinds"]}
        first = kinds["d", "temp is missing; the message has temperature, note"]
        assert (first["messages"], first["letters"], first["payload"]) == (2, 2, long[:200].decode())
        assert first["first"] <= first["last"]
        [other] = [kind for (device, _), kind in kinds.items() if device == "e"]
        assert other["payload"] == "\\xff\\xfe"
        [foreign] = [kind for (device, _), kind in kinds.items() if device == ""]
        assert (foreign["payload"], foreign["messages"]) == ("no JSON at all", 1)
        [array] = listed.queues["receiver"]["kinds"]
        assert (array["device"], array["payload"]) == ("f", "[1, 2]")
        assert (queues.visible(), queues.hidden(), queues.visible("receiver")) == (5, 0, 1)
    assert table.rows() == []


async def test_one_kind_is_dropped_and_no_other(queues: Queues, table: Table) -> None:
    missing = "temp is missing; the message has temperature"
    bad = {"deviceId": "d", "temperature": 1}
    queues.put(
        single(bad),
        single(bad, client="e"),
        single({"deviceId": "d", "temp": "hot"}),
        batch(publication(reading(1)), publication(bad)),
        batch(publication(reading(2)), publication(bad), publication({"deviceId": "d", "temp": "hot"})),
        single(reading(3)),
    )
    queues.put(of_envelope(json.dumps(bad).encode()), queue="receiver")
    dropped = await queues.redrive(action="drop", drops=run.Kind(missing, "d"), queues={"rule": queues.rule})
    rule = dropped.queues["rule"]
    # the second batch's readings are stored as well; it stays for its other message
    assert (rule["letters"], rule["dropped"], rule["redriven"], rule["kept_letters"]) == (6, 2, 2, 3)
    assert [row["Time"]["S"][-2:] for row in table.rows()] == ["m1", "m2"]
    assert (queues.visible(), queues.hidden(), queues.visible("receiver")) == (4, 0, 1)
    dropped = await queues.redrive(action="drop", drops=run.Kind(missing), queues={"rule": queues.rule})
    assert dropped.queues["rule"]["dropped"] == 1
    assert (await queues.redrive(action="drop", drops=run.Kind("no such reason"))).queues["rule"]["dropped"] == 0
    assert (queues.visible(), queues.visible("receiver")) == (3, 1)


async def test_no_dead_letter_stops_others(queues: Queues, table: Table) -> None:
    strange = [
        own(reading()) | {"receivedAt": "9999-12-31T23:59:59.999Z"},
        own(reading(1)) | {"receivedAt": "0001-01-01T00:00:00Z"},
        of_envelope(b'{"deviceId":"d","temp":1}') | {"iotReceivedAt": [1]},
        of_envelope(b'{"deviceId":"d","temp":1}') | {"place": -1, "traceId": "t" * 3_000},
        single(reading(2), trace="t" * 3_000),
        single(b'{"deviceId":"d","temp":1}', trace="t" * 3_000),
        single(b"[" * 60_000),
        "[" * 60_000,
        batch(publication([])),
    ]
    queues.put(*strange, single(reading(3)))
    result = await queues.redrive()
    assert result.status == 0
    assert result.queues["rule"]["letters"] == len(strange) + 1
    assert "2026-01-31T12:00:00.003Z#m3" in {row["Time"]["S"] for row in table.rows()}


def test_traces_days_apart_are_looked_up_apart() -> None:
    hour, day = 3_600_000, 86_400_000
    traces = {"a": 0, "b": hour // 2, "c": 3 * day, "d": 3 * day + hour, "e": 9 * day}
    assert [list(some) for some in stored._close(traces)] == [["a", "b"], ["c", "d"], ["e"]]
    assert [len(some) for some in stored._close({str(n): n for n in range(120)})] == [50, 50, 20]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["drop"], "required: --queue, --reason"),
        (["drop", "--queue", "other", "--reason", "x"], "invalid choice: 'other'"),
        (["purge"], "invalid choice: 'purge'"),
    ],
)
def test_a_faulty_command_line_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        command.main(arguments)
    assert raised.value.code == 2
    assert said in capsys.readouterr().err


def test_a_queue_that_is_not_set_can_not_be_dropped_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "AWS_REGION": REGION,
        "RECEIVER_TABLE_NAME": "table",
        "RECEIVER_DEAD_LETTER_QUEUE_URL": "https://sqs/1/q",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RECEIVER_RULE_DEAD_LETTER_QUEUE_URL", raising=False)
    assert command.main(["drop", "--queue", "rule", "--reason", "x"]) == 2
    assert "the URL of queue rule is not set" in capsys.readouterr().err


def test_settings_name_every_fault() -> None:
    with pytest.raises(SettingsError) as raised:
        RedriveSettings.from_environment({"RECEIVER_TABLE_NAME": "t!", "RECEIVER_RULE_DEAD_LETTER_QUEUE_URL": "no"})
    assert len(raised.value.faults) == 3
    with pytest.raises(SettingsError, match="neither RECEIVER_RULE_DEAD_LETTER_QUEUE_URL nor"):
        RedriveSettings.from_environment({"RECEIVER_TABLE_NAME": "table", "AWS_REGION": REGION})


def test_the_command_line_knows_redrive_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("RECEIVER_TABLE_NAME", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("signal.signal", lambda *_: None)  # SIGTERM is to end pytest as before
    monkeypatch.setattr("sys.argv", ["iot-receiver", "redrive"])
    assert __main__.main() == 2
    assert "RECEIVER_TABLE_NAME is not set" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["iot-receiver", "drive"])
    assert __main__.main() == 2
    assert "usage: iot-receiver [redrive]" in capsys.readouterr().err
