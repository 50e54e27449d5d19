"""Fixtures of this folder's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.aws.emulator import Emulator, Endpoint, running, serving
from tests.support.certificates import Authority


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
