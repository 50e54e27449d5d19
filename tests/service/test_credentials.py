"""Credentials as EKS gives them to a service account, and their refresh beside the requests."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session
from botocore.credentials import ReadOnlyCredentials
from harness import ACCOUNT, Make
from iot_receiver import keys
from iot_receiver.credentials import Credentials


@pytest.fixture
def service_account(aws: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What EKS puts into a pod."""
    token = tmp_path / "token"
    token.write_text("a projected token")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ROLE_ARN", f"arn:aws:iam::{ACCOUNT}:role/receiver")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "regional")


async def test_web_identity(service_account: None, make_receiver: Make) -> None:
    receiver = await make_receiver()
    for _ in range(100):
        if (await receiver.client.get("/readyz")).status == 200:
            break
        await asyncio.sleep(0.05)
    current = receiver.app[keys.CREDENTIALS].current
    assert current is not None
    assert current.access_key is not None
    assert current.access_key.startswith("ASIA")
    assert current.token


async def test_a_role_that_can_not_be_had(
    service_account: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "missing"))
    credentials = Credentials(get_session())
    assert not await credentials.refresh()
    assert credentials.current is None


async def test_a_failing_refresh_keeps_what_there_is() -> None:
    class Source:
        keys = iter(["one", "", "two"])

        async def get_frozen_credentials(self) -> ReadOnlyCredentials:
            key = next(self.keys)
            if not key:
                raise OSError
            return ReadOnlyCredentials(key, "secret", None)

    class Session:
        source = Source()

        async def get_credentials(self) -> Source:
            return self.source

    session: Any = Session()
    credentials = Credentials(session)
    known = []
    for _ in range(3):
        await credentials.refresh()
        assert credentials.current is not None
        known.append(credentials.current.access_key)
    assert known == ["one", "one", "two"]
