"""Connection and commands with a real broker over mutual TLS."""

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from iot_device.connection import Connection, NotConnectedError
from iot_device.reasons import Refusal
from iot_device.settings import Settings, SettingsError

from tests.device.a_broker import Broker
from tests.device.harness import Answers, Subscriber, ask, degrees, flags, start

MakeSettings = Callable[..., Settings]


@pytest.fixture(name="subscriber")
def _subscriber(settings: MakeSettings) -> Iterator[Subscriber]:
    subscriber = Subscriber(settings())
    yield subscriber
    subscriber.stop()


def test_a_reading_arrives_as_it_was_taken(settings: MakeSettings, subscriber: Subscriber) -> None:
    answers, reading = Answers(), degrees("sensor-1", 21.5)
    with Connection(settings()) as connection:
        connection.wait_connected(10)
        connection.publish(reading.payload(), answers)
        assert answers.wait(1) == [None]
    assert subscriber.wait(1) == [reading.members()]


def test_another_topic_is_refused_with_its_reason(settings: MakeSettings) -> None:
    answers = Answers()
    with Connection(settings(topic="things/other")) as connection:
        connection.wait_connected(10)
        connection.publish("{}", answers)
        [refusal] = answers.wait(1)
    assert refusal is not None
    assert refusal.name == "NOT_AUTHORIZED"
    assert "policy" in str(refusal)


def test_a_stranger_gets_no_connection_and_the_reason(settings: MakeSettings, identities: Path) -> None:
    stranger = settings(certificate=identities / "stranger.crt", key=identities / "stranger.key")
    with (
        Connection(stranger) as connection,
        pytest.raises(NotConnectedError, match=r"TLS|CLOSED|MQTT5") as raised,
    ):
        connection.wait_connected(5)
    assert "localhost" in str(raised.value)


def test_a_broker_of_another_authority_is_not_trusted(settings: MakeSettings, identities: Path) -> None:
    status, out = ask("doctor", *flags(settings(ca=identities / "stranger.crt")))
    assert status == 1
    assert "FAULT  broker       its certificate is not trusted" in out
    assert "connection" not in out, "nobody talks to it"
    refusal = Refusal("AWS_IO_TLS_ERROR_NEGOTIATION_FAILURE")  # what the SDK says, after 12 s and more
    assert refusal.lasting
    assert "authority" in str(refusal)


def test_a_key_of_another_certificate_is_named(settings: MakeSettings, identities: Path) -> None:
    with pytest.raises(SettingsError, match=r"sensor-1\.crt"):
        Connection(settings(key=identities / "ca.crt"))


def test_a_message_is_refused_while_the_broker_is_away(settings: MakeSettings, broker: Broker) -> None:
    changes: list[bool] = []
    answers = Answers()
    with Connection(settings(), lambda connected, refusal: changes.append(connected)) as connection:
        connection.wait_connected(10)
        broker.stop()
        until = time.monotonic() + 10
        while connection.connected and time.monotonic() < until:
            time.sleep(0.05)
        connection.publish("{}", answers)
        [refusal] = answers.wait(1)
        assert refusal is not None
        assert not refusal.answered
        broker.start()
        connection.wait_connected(10)
    assert changes[0]
    assert False in changes


def test_publish_prints_the_reading_that_arrived(settings: MakeSettings, subscriber: Subscriber) -> None:
    process = start("publish", *flags(settings()), "--temperature", "-3.25")
    out, err = process.communicate(timeout=40)
    assert (process.returncode, err) == (0, "")
    assert subscriber.wait(1) == [json.loads(out)]
    assert json.loads(out)["temp"] == -3.25


def test_publish_to_a_foreign_topic_fails_and_says_so(settings: MakeSettings) -> None:
    process = start("publish", *flags(settings(topic="things/other")))
    _, err = process.communicate(timeout=40)
    assert process.returncode == 1
    assert "NOT_AUTHORIZED" in err


def test_run_publishes_until_it_is_stopped(settings: MakeSettings, subscriber: Subscriber) -> None:
    process = start("run", *flags(settings()))
    assert len(subscriber.wait(5)) >= 5
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=15)
    assert process.returncode == 0
    acknowledged = re.search(r"stopped: (\d+) readings acknowledged, 0 without", err)
    assert acknowledged
    time.sleep(0.3)
    assert len(subscriber.messages) == int(acknowledged[1])


def test_simulate_keeps_a_ledger_of_what_arrived(
    settings: MakeSettings, subscriber: Subscriber, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    process = start("simulate", *flags(settings()), "--count", "40", "--rate", "80", "--ledger", str(ledger))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert re.search(r"acknowledged +40\n", out)
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert all(line["acknowledged_at"] >= line["published_at"] for line in lines)
    sent = [{name: line[name] for name in ("deviceId", "temp", "ts", "messageId")} for line in lines]
    key = "messageId"
    assert sorted(sent, key=lambda m: str(m[key])) == sorted(subscriber.wait(40), key=lambda m: str(m[key]))
    assert len({line["temp"] for line in lines}) == 40


def test_simulate_publishes_as_a_gateway_for_many_devices(settings: MakeSettings, subscriber: Subscriber) -> None:
    process = start("simulate", *flags(settings()), "--count", "6", "--rate", "50", "--devices", "3")
    process.communicate(timeout=40)
    devices = sorted(str(message["deviceId"]) for message in subscriber.wait(6))
    assert devices == ["sensor-1-1", "sensor-1-1", "sensor-1-2", "sensor-1-2", "sensor-1-3", "sensor-1-3"]
