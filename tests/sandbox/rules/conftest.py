"""Fixtures of this folder's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.sandbox.broker.authority import Authority
from tests.sandbox.broker.fixtures import authority, broker, plugin
from tests.sandbox.rules.emulator import Emulator
from tests.sandbox.rules.endpoint import Endpoint

__all__ = ["authority", "broker", "plugin"]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Emulator]:
    running = Emulator(tmp_path_factory.mktemp("aws"), authority)
    yield running
    running.stop()


@pytest.fixture
async def endpoint(authority: Authority) -> AsyncIterator[Endpoint]:
    async with Endpoint(authority) as running:
        yield running
