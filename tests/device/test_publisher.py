"""The publisher against a real broker with mutual TLS."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from a_broker import TOPIC, Broker
from iot_device.ledger import Ledger
from iot_device.publisher import NotConnectedError, Publisher
from iot_device.reading import Reading
from iot_device.reasons import Refusal
from iot_device.settings import Settings, SettingsError

MakeSettings = Callable[..., Settings]


class Subscriber:
    """mosquitto's own client, listening to the topic."""

    def __init__(self, settings: Settings) -> None:
        self.messages: list[dict[str, object]] = []
        command = ["stdbuf", "-oL", "mosquitto_sub", "-d", "-V", "5", "-q", "1", "-t", TOPIC, "-i", "listener"]
        command += ["-h", "localhost", "-p", str(settings.port), "--cafile", str(settings.ca)]
        command += ["--cert", str(settings.certificate), "--key", str(settings.key)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.subscribed = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        assert self.subscribed.wait(10)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            if "SUBACK" in line or "Subscribed" in line:
                self.subscribed.set()
            if line.startswith("{"):
                self.messages.append(json.loads(line))

    def wait(self, count: int) -> list[dict[str, object]]:
        until = time.monotonic() + 15
        while len(self.messages) < count and time.monotonic() < until:
            time.sleep(0.05)
        return self.messages


@pytest.fixture(name="subscriber")
def _subscriber(settings: MakeSettings) -> Iterator[Subscriber]:
    subscriber = Subscriber(settings())
    yield subscriber
    subscriber.process.terminate()
    subscriber.process.wait(5)


def test_a_reading_arrives_as_it_was_taken(settings: MakeSettings, subscriber: Subscriber) -> None:
    answers: list[Refusal | None] = []
    reading = Reading("sensor-1", 21.5)
    with Publisher(settings()) as publisher:
        publisher.wait_connected(10)
        assert publisher.publish(reading.payload(), answers.append)
        assert publisher.drain(10) == 0
    assert answers == [None]
    assert subscriber.wait(1) == [reading.members()]


def test_another_topic_is_refused_with_its_reason(settings: MakeSettings) -> None:
    answers: list[Refusal | None] = []
    with Publisher(settings(topic="things/other")) as publisher:
        publisher.publish(b"{}", answers.append)
        assert publisher.drain(10) == 0
    [refusal] = answers
    assert refusal is not None
    assert refusal.name == "NOT_AUTHORIZED"
    assert "policy" in str(refusal)


def test_a_stranger_gets_no_connection_and_is_told_why(settings: MakeSettings, identities: Path) -> None:
    stranger = settings(certificate=identities / "stranger.crt", key=identities / "stranger.key")
    with (
        Publisher(stranger) as publisher,
        pytest.raises(NotConnectedError, match=r"TLS|CLOSED|MQTT5") as raised,
    ):
        publisher.wait_connected(5)
    assert "localhost" in str(raised.value)


def test_a_broker_of_another_authority_is_not_trusted(settings: MakeSettings, identities: Path) -> None:
    with (
        Publisher(settings(ca=identities / "stranger.crt")) as publisher,
        pytest.raises(NotConnectedError, match="authority"),
    ):
        publisher.wait_connected(40)


def test_a_key_of_another_certificate_is_named(settings: MakeSettings, identities: Path) -> None:
    with pytest.raises(SettingsError, match=r"sensor-1\.crt"):
        Publisher(settings(key=identities / "ca.crt"))


def test_what_was_published_while_the_broker_was_away_arrives(settings: MakeSettings, broker: Broker) -> None:
    ledger = Ledger()
    with Publisher(settings()) as publisher:
        publisher.wait_connected(10)
        broker.stop()
        time.sleep(0.5)
        for number in range(20):
            ledger.publish(publisher, Reading("sensor-1", float(number)))
        assert publisher.drain(0.5) == 20
        broker.start()
        assert publisher.drain(30) == 0
    assert ledger.acknowledged == 20


def test_no_more_than_the_limit_is_on_its_way(settings: MakeSettings, broker: Broker) -> None:
    broker.stop()
    ledger = Ledger()
    with Publisher(settings(), limit=3) as publisher:
        taken = [ledger.publish(publisher, Reading("sensor-1", 1.0), wait=False) for _ in range(5)]
        assert taken == [True, True, True, False, False]
        broker.start()
        assert publisher.drain(30) == 0
        assert ledger.publish(publisher, Reading("sensor-1", 1.0), wait=False)
        assert publisher.drain(10) == 0
    assert (ledger.sent, ledger.acknowledged) == (4, 4)


def flags(settings: Settings) -> list[str]:
    """The settings as the command line takes them."""
    names = ["endpoint", "port", "thing", "ca", "certificate", "key", "topic", "interval"]
    return [part for name in names for part in (f"--{name}", str(getattr(settings, name)))]


def start(*arguments: str) -> "subprocess.Popen[str]":
    """Start iot-device as a shell would."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "device")}
    command = [sys.executable, "-m", "iot_device", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


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


def test_simulate_can_stand_for_many_devices(settings: MakeSettings, subscriber: Subscriber) -> None:
    process = start("simulate", *flags(settings()), "--count", "6", "--rate", "50", "--devices", "3")
    process.communicate(timeout=40)
    devices = sorted(str(message["deviceId"]) for message in subscriber.wait(6))
    assert devices == ["sensor-1-1", "sensor-1-1", "sensor-1-2", "sensor-1-2", "sensor-1-3", "sensor-1-3"]
