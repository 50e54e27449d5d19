"""Queues whose calls come at the same time: the emulator answers each in a thread."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from iot_sandbox.aws.sqs import SandboxSQSBackend


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads that take turns as often as they can, so that a missing lock shows."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("impatient")
def test_senders_and_consumers_at_once_lose_no_message_and_see_none_twice() -> None:
    backend = SandboxSQSBackend("us-east-2", "123456789012")
    backend.create_queue("busy", {})

    def send(sender: int) -> None:
        for number in range(100):
            backend.send_message("busy", f"{sender}-{number}")

    def consume(_consumer: int) -> list[str]:
        bodies: list[str] = []
        while messages := backend.receive_message("busy", 10, 1, 300):
            for message in messages:
                bodies.append(message.body)
                backend.delete_message("busy", message.receipt_handle or "")
        return bodies

    with ThreadPoolExecutor(8) as pool:
        senders, consumers = pool.map(send, range(4)), pool.map(consume, range(4))
        assert list(senders) == [None] * 4
        received = [body for bodies in consumers for body in bodies]
    assert sorted(received) == sorted(f"{sender}-{number}" for sender in range(4) for number in range(100))
