"""Credentials as EKS gives them to a service account, and their refresh beside the requests."""

import asyncio
import gc
import weakref
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from aiobotocore.session import AioSession, get_session
from aiohttp import web
from botocore.credentials import ReadOnlyCredentials
from botocore.parsers import ResponseParserError
from iot_receiver import credentials as module
from iot_receiver import keys
from iot_receiver.app import init_app
from iot_receiver.credentials import Credentials
from iot_receiver.settings import Settings

from tests.service.faults import Answer, Faults, error
from tests.service.harness import ACCOUNT, Make, Receiver


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


class Session:
    """A session whose credentials come, or not, as a script says."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)

    async def get_credentials(self) -> "Session":
        return self

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        if step is None:
            await asyncio.Event().wait()
        return ReadOnlyCredentials(step, "secret", None)


async def test_a_failing_refresh_keeps_what_there_is() -> None:
    session: Any = Session("one", OSError(), "two")
    credentials = Credentials(session)
    known = []
    for _ in range(3):
        await credentials.refresh()
        assert credentials.current is not None
        known.append(credentials.current.access_key)
    assert known == ["one", "one", "two"]


async def test_no_answer_of_sts_ends_the_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(module, "REFRESH_SECONDS", 0.05)
    session: Any = Session(ResponseParserError("no XML"), KeyError("Credentials"), None, RuntimeError(), "at last")
    credentials = Credentials(session)
    refresh = asyncio.create_task(credentials.keep_fresh())
    for _ in range(750):
        if credentials.valid:
            break
        await asyncio.sleep(0.02)
    assert not refresh.done()
    refresh.cancel()
    assert credentials.current is not None
    assert credentials.current.access_key == "at last"


async def test_not_ready_once_the_credentials_have_expired(receiver: Receiver) -> None:
    async def refresh() -> dict[str, str]:
        raise OSError

    expiry = datetime.now(UTC) + timedelta(minutes=12)  # not yet so near that a failed refresh is an error
    source = AioRefreshableCredentials("key", "secret", "token", expiry, refresh, "test")

    class Source:
        async def get_credentials(self) -> AioRefreshableCredentials:
            return source

    credentials = receiver.app[keys.CREDENTIALS]
    credentials._session = Source()
    assert await credentials.refresh()
    assert (await receiver.client.get("/readyz")).status == 200
    source._expiry_time = datetime.now(UTC) - timedelta(seconds=1)
    response = await receiver.client.get("/readyz")
    assert response.status == 503
    assert "no valid AWS credentials" in await response.text()


def refusing(access_key: str, refused: list[str]) -> Answer:
    """DynamoDB's answer to calls signed with a key that has expired; others are taken."""

    async def answer(request: web.Request) -> web.StreamResponse | None:
        if access_key not in request.headers["Authorization"]:
            return None
        refused.append(access_key)
        return await error("ExpiredTokenException")(request)

    return answer


async def test_credentials_that_aws_calls_expired_are_replaced_at_once(
    service_account: None, faults: Faults, make_receiver: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 3_600.0)
    receiver = await make_receiver()
    credentials = receiver.app[keys.CREDENTIALS]
    while not credentials.valid:  # noqa: ASYNC110 - STS is asked in the background
        await asyncio.sleep(0.02)
    assert credentials.current is not None
    refused: list[str] = []
    old = credentials.current.access_key
    faults.script = [refusing(old, refused)] * 1_000
    answers = await asyncio.gather(*(receiver.send({"deviceId": f"d{number}", "temp": 1}) for number in range(30)))
    assert {answer.status for answer in answers} == {200}
    assert credentials.current.access_key != old
    assert refused
    assert len(faults.rows) == 30


async def test_credentials_that_can_not_be_replaced_are_asked_for_once_a_second(
    deadline: float, faults: Faults, make_receiver: Make
) -> None:
    receiver = await make_receiver()
    credentials = receiver.app[keys.CREDENTIALS]
    make, made = credentials._new_session, list[AioSession]()

    def counted() -> AioSession:
        made.append(make())
        return made[-1]

    credentials._new_session = counted
    refused: list[str] = []
    faults.script = [refusing("key", refused)] * 1_000
    assert (await receiver.send({"deviceId": "d", "temp": 1})).status == 503
    assert len(refused) > 2
    assert len(made) == 1  # within the 0.9 s of a request
    faults.script = []
    assert (await receiver.send({"deviceId": "d", "temp": 1})).status == 200


async def test_what_tells_the_endpoint_does_not_stay(aws: None, secrets_dir: Path) -> None:
    """DynamoDB's model takes 10 MiB."""
    sessions: list[weakref.ref[AioSession]] = []

    def new_session() -> AioSession:
        session = get_session()
        sessions.append(weakref.ref(session))
        return session

    settings = Settings(aws_region="us-east-2", aws_account_id=ACCOUNT, table_name="telemetry", secrets_dir=secrets_dir)
    runner = web.AppRunner(init_app(settings, new_session))
    gc.disable()
    await runner.setup()
    gc.enable()
    assert [session() is None for session in sessions] == [False, True]
    await runner.cleanup()
