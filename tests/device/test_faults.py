"""Power cuts, a broker that comes and goes, a dead link: every reading arrives, and its ledger says so.

Two proofs: the ids that the broker handed on are those of the ledger, none missing and none foreign; and the spool's
own count of readings taken, which is stored in the same commit as the reading, is the number of those ids.
"""

import json
import select
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from iot_device.settings import Settings
from iot_device.state import is_running

from tests.device.a_broker import Broker
from tests.device.harness import Subscriber, flags, start

MakeSettings = Callable[..., Settings]
FAULTS = 20


class Relay:
    """A link to the broker that can go dead: nothing is closed, and nothing gets through."""

    def __init__(self, port: int) -> None:
        self._to, self.dead = port, False
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._links: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._to), 5)
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near, far), daemon=True).start()

    def _carry(self, near: socket.socket, far: socket.socket) -> None:
        try:
            while True:
                for ready in select.select([near, far], [], [], 0.2)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    if not self.dead:  # data that arrives while the link is dead is lost
                        (far if ready is near else near).sendall(data)
        except OSError:
            return
        finally:
            near.close()
            far.close()

    def close(self) -> None:
        self._server.close()


@pytest.fixture(name="subscriber")
def _subscriber(settings: MakeSettings) -> Iterator[Subscriber]:
    subscriber = Subscriber(settings())
    yield subscriber
    subscriber.stop()


def count(settings: Settings) -> dict[str, int]:
    """The spool's counters, and what waits."""
    with closing(sqlite3.connect(settings.state_dir / "spool.db")) as database:
        found: dict[str, int] = dict(database.execute("SELECT name, value FROM counters").fetchall())
        [found["waiting"]] = database.execute("SELECT count(*) FROM readings").fetchone()
    return found


def prove(settings: Settings, ledger: Path, subscriber: Subscriber) -> int:
    """Compare what arrived with the ledger and the spool's count; returns how many readings there were."""
    found = count(settings)
    assert found["waiting"] == found["dropped_count"] == found["dropped_age"] == found["quarantined"] == 0
    noted = {json.loads(line)["messageId"] for line in ledger.read_text().splitlines()}
    assert len(noted) == found["taken"] == found["acknowledged"]
    until = time.monotonic() + 10
    while len({message["messageId"] for message in subscriber.messages}) < len(noted) and time.monotonic() < until:
        time.sleep(0.05)
    assert {str(message["messageId"]) for message in subscriber.messages} == noted
    rows = {json.dumps(message, sort_keys=True) for message in subscriber.messages}
    assert len(rows) == len(noted), "what is sent again is the same in every member, so it is the same row"
    return len(noted)


def finish(settings: Settings, ledger: Path) -> None:
    """Run until nothing waits, then stop as a person would."""
    before = count(settings)["acknowledged"]
    process = start("run", *flags(settings), "--ledger", str(ledger))
    until = time.monotonic() + 30
    while time.monotonic() < until:  # it must have been connected, or it leaves at once with what waits
        found = count(settings)
        if found["acknowledged"] > before and found["waiting"] <= 2:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "0 without an answer" in err


@pytest.mark.long
def test_the_host_loses_its_power_again_and_again(
    settings: MakeSettings, subscriber: Subscriber, tmp_path: Path
) -> None:
    given, ledger = settings(interval=0.03), tmp_path / "ledger"
    for round_ in range(FAULTS):
        process = start("run", *flags(given), "--ledger", str(ledger))
        until = time.monotonic() + 20
        while not is_running(given.state_dir) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(round_ * 0.03)  # before, while and after it connects
        process.kill()
        process.communicate()
    finish(given, ledger)
    assert prove(given, ledger, subscriber) > FAULTS


@pytest.mark.long
def test_the_broker_is_stopped_and_started_again_and_again(
    settings: MakeSettings, subscriber: Subscriber, broker: Broker, tmp_path: Path
) -> None:
    given, ledger = settings(interval=0.02), tmp_path / "ledger"
    process = start("run", *flags(given), "--ledger", str(ledger))
    for round_ in range(FAULTS):
        time.sleep(0.1 + round_ * 0.015)
        broker.stop()
        broker.start()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    finish(given, ledger)
    assert prove(given, ledger, subscriber) > 5 * FAULTS


@pytest.mark.long
def test_the_link_is_dead_for_a_while(
    settings: MakeSettings, subscriber: Subscriber, broker: Broker, tmp_path: Path
) -> None:
    relay, ledger = Relay(broker.port), tmp_path / "ledger"
    given = settings(interval=0.05, keep_alive=5, port=relay.port)
    process = start("run", *flags(given), "--ledger", str(ledger))
    subscriber.wait(20)
    relay.dead = True
    time.sleep(11)  # it notices after at most 9
    assert count(given)["waiting"] > 150
    relay.dead = False
    until = time.monotonic() + 20
    while count(given)["waiting"] > 10 and time.monotonic() < until:
        time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert "disconnected" in err
    relay.close()
    assert prove(given, ledger, subscriber) > 200
