"""Fixtures of this folder's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.sandbox.broker.fixtures import authority, broker, emulator, plugin
from tests.sandbox.rules.endpoint import Endpoint
from tests.support.certificates import Authority

__all__ = ["authority", "broker", "emulator", "plugin"]


@pytest.fixture
async def endpoint(authority: Authority) -> AsyncIterator[Endpoint]:
    async with Endpoint(authority) as running:
        yield running
