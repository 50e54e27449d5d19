"""Programs that follow the account learn of changes without reading it."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from iot_sandbox.shared import changes
from iot_sandbox.shared.changes import Changes

from tests.sandbox.broker.emulator import Emulator


@pytest.fixture
def due(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Whether something is to be read, which is read then."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.url)
    account = Changes()

    def look() -> bool:
        found = account.due()
        account.was_read()
        return found

    assert look()
    return look


def test_only_what_followers_read_is_a_change(emulator: Emulator, due: Callable[[], bool]) -> None:
    iot, sqs = emulator.client("iot"), emulator.client("sqs")
    assert not due()
    iot.create_thing(thingName="changed")
    assert due()
    iot.describe_thing(thingName="changed")
    iot.list_things()
    sqs.create_queue(QueueName="of-nobody")
    assert not due()
    iot.delete_thing(thingName="changed")
    emulator.client("route53").create_hosted_zone(Name="changes.test", CallerReference="1")
    emulator.client("elbv2").describe_load_balancers()
    assert due()
    assert not due()
    urllib.request.urlopen(f"{emulator.url}/moto-api/reset", data=b"").close()  # noqa: S310 - our own URL
    assert due()


def test_a_change_that_comes_while_the_account_is_read_is_read_as_well(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulator.url)
    account = Changes()
    assert account.due()
    emulator.client("iot").create_thing(thingName="meanwhile")
    account.was_read()
    assert account.due()


def test_the_account_is_read_from_time_to_time_or_where_nobody_can_tell(
    due: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "LONGEST", 0.0)
    assert not due()
    assert due()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    nobody = Changes()
    nobody.was_read()
    assert nobody.due()


def test_half_an_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(listening: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 50\r\n\r\n{")

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as pool:
        pool.submit(answer, listening)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        account = Changes()
        assert account.due()
        account.was_read()
        assert account.due()
