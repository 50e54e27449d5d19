"""Fixtures of this folder's tests."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "sandbox")]  # the daemons' own environment has the package installed

from tests.sandbox.broker.authority import Authority  # noqa: E402
from tests.sandbox.broker.fixtures import authority, broker, emulator, plugin  # noqa: E402
from tests.sandbox.rules.endpoint import Endpoint  # noqa: E402

__all__ = ["authority", "broker", "emulator", "plugin"]


@pytest.fixture
async def endpoint(authority: Authority) -> AsyncIterator[Endpoint]:
    async with Endpoint(authority) as running:
        yield running
