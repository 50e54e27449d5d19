"""Fixtures of this folder's tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.sandbox.aws.emulator import ROOT, Emulator, Endpoint, running, serving
from tests.sandbox.broker.authority import Authority

sys.path.insert(0, str(ROOT / "sandbox"))


@pytest.fixture(scope="session", name="aws_authority")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session", name="aws")
def _aws(tmp_path_factory: pytest.TempPathFactory, aws_authority: Authority) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("aws"), aws_authority) as emulator:
        yield emulator


@pytest.fixture(name="endpoint")
def _endpoint(aws_authority: Authority) -> Iterator[Endpoint]:
    with serving(aws_authority) as endpoint:
        yield endpoint
