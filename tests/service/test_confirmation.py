"""Destination confirmations: nothing in them leads anywhere but to the one signed call."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestServer
from botocore.parsers import ResponseParserError
from iot_receiver import keys
from yarl import URL

from tests.service.harness import ACCOUNT, REGION, Make, Receiver

ARN = f"arn:aws:iot:{REGION}:{ACCOUNT}:ruledestination/http/1b3f2c1e-0000-4000-8000-123456789abc"


@dataclass
class Listener:
    """Hears every request that leaves the receiver, and answers as IoT Core does."""

    url: str = ""
    heard: list[tuple[str, str, str]] = field(default_factory=list)  # method, path, Authorization
    true_tokens: set[str] = field(default_factory=set)
    failing: bool = False
    garbled: bool = False
    refusal: str = "InvalidRequestException"

    async def answer(self, request: web.Request) -> web.Response:
        self.heard.append((request.method, request.raw_path, request.headers.get("Authorization", "")))
        if self.failing:
            return web.Response(status=500)
        if self.garbled:
            return web.Response(status=400, body=b"{", content_type="application/json")
        if request.path.removeprefix("/confirmdestination/") in self.true_tokens:
            return web.json_response({})
        headers = {"x-amzn-errortype": self.refusal}
        return web.json_response({"message": "no such token"}, status=400, headers=headers)


@pytest.fixture
async def listener(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Listener]:
    """All of AWS but DynamoDB is this listener; so is whoever else should be asked."""
    listener = Listener()
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", listener.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        listener.url = str(server.make_url("/"))
        yield listener


@pytest.fixture
async def confirming(listener: Listener, aws: None, make_receiver: Make, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    """A receiver that asks the listener."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_IOT", listener.url)
    return await make_receiver()


async def challenge(
    receiver: Receiver, token: str | None, *, arn: str | None = ARN, path: str = "/ingest/", **body: Any
) -> ClientResponse:
    headers = {"x-amz-rules-engine-message-type": "DestinationConfirmation"}
    if arn is not None:
        headers["x-amz-rules-engine-destination-arn"] = arn
    content = {"arn": arn, "confirmationToken": token, "messageType": "DestinationConfirmation", **body}
    query = {} if token is None else {"confirmationToken": token}
    return await receiver.client.post(path, params=query, json=content, headers=headers)


@pytest.mark.parametrize("path", ["/ingest", "/ingest/"])
async def test_a_true_token_is_confirmed_by_the_signed_call(
    confirming: Receiver, listener: Listener, path: str
) -> None:
    token = "AYADeMXLrPrNY2wqJAKsFNn-NnkAeQADABBSTV9hdXRo_=="
    listener.true_tokens = {token}
    for _ in range(2):
        assert (await challenge(confirming, token, path=path)).status == 200
    for method, asked, authorization in listener.heard:
        assert (method, asked) == ("GET", f"/confirmdestination/{token.replace('=', '%3D')}")
        assert authorization.startswith("AWS4-HMAC-SHA256 Credential=key/")
        assert f"/{REGION}/" in authorization
    assert len(listener.heard) == 2
    assert await confirming.metric('iot_receiver_confirmations_total{outcome="confirmed"}') == 2


@pytest.mark.parametrize(
    ("header", "status"), [(f'"{ARN}"', 200), (f'"{ARN}', 403), (f'""{ARN}""', 403), ('""', 403), ('"', 403)]
)
async def test_the_header_may_have_quotes_around_its_arn(
    confirming: Receiver, listener: Listener, header: str, status: int
) -> None:
    """As the AWS IoT Core Developer Guide prints it, "Working with HTTP topic rule destinations"."""
    listener.true_tokens = {"token"}
    headers = {
        "x-amz-rules-engine-message-type": "DestinationConfirmation",
        "x-amz-rules-engine-destination-arn": header,
    }
    body = {"arn": ARN, "confirmationToken": "token"}
    response = await confirming.client.post("/ingest/?confirmationToken=token", json=body, headers=headers)
    assert response.status == status
    assert len(listener.heard) == (status == 200)


async def test_no_url_of_a_request_is_fetched(confirming: Receiver, listener: Listener) -> None:
    listener.true_tokens = {"token"}
    urls = {
        "enableUrl": f"{listener.url}enable?confirmationToken=token",
        "confirmationUrl": f"{listener.url}other",
        "url": f"{listener.url}url",
    }
    assert (await challenge(confirming, "token", **urls)).status == 200
    assert [asked for _, asked, _ in listener.heard] == ["/confirmdestination/token"]
    assert (await challenge(confirming, None, **urls)).status == 403
    assert len(listener.heard) == 1


@pytest.mark.parametrize(
    "arn",
    [
        None,
        "",
        ARN.replace(ACCOUNT, "210987654321"),
        ARN.replace(REGION, "eu-west-1"),
        ARN.replace("/http/", "/vpc/"),
        ARN + "/..",
        "x" + ARN,
        ARN.replace(":iot:", ":sqs:"),
        ARN.replace("arn:aws:", "arn:aws-cn:"),
        ARN.replace("arn:aws:", "arn:awsfoo:"),
    ],
)
async def test_another_accounts_destination_causes_no_call(
    confirming: Receiver, listener: Listener, arn: str | None
) -> None:
    assert (await challenge(confirming, "token", arn=arn)).status == 403
    assert listener.heard == []


async def test_header_and_body_must_both_be_ours(confirming: Receiver, listener: Listener) -> None:
    foreign = ARN.replace(ACCOUNT, "210987654321")
    headers = {
        "x-amz-rules-engine-message-type": "DestinationConfirmation",
        "x-amz-rules-engine-destination-arn": ARN,
    }
    bodies: tuple[Any, ...] = ({"arn": foreign, "confirmationToken": "token"}, {"confirmationToken": "other"}, [], "x")
    for body in bodies:
        response = await confirming.client.post("/ingest/?confirmationToken=token", json=body, headers=headers)
        assert response.status == 403
    assert listener.heard == []


@pytest.mark.parametrize(
    "token", ["", "../things/x", "a/b", "a?b=c", "a#b", "a b", "a%2Fb", "é", "x" * 2049, "a..b", "a\r\nb", "."]
)
async def test_a_token_can_not_lead_the_call_elsewhere(confirming: Receiver, listener: Listener, token: str) -> None:
    assert (await challenge(confirming, token)).status == 403
    assert listener.heard == []


async def test_a_flood_of_false_tokens_ends_in_few_calls(confirming: Receiver, listener: Listener) -> None:
    listener.true_tokens = {"true"}
    statuses = [(await challenge(confirming, f"false{number}")).status for number in range(200)]
    assert set(statuses) == {403, 429}
    assert len(listener.heard) <= 7
    assert (await challenge(confirming, "true")).status in {200, 429}


async def test_a_false_token_is_asked_about_once(confirming: Receiver, listener: Listener) -> None:
    statuses = [(await challenge(confirming, "false")).status for _ in range(50)]
    assert statuses == [403] * 50
    assert len(listener.heard) == 1


async def test_a_token_is_taken_from_the_url_as_it_is(confirming: Receiver, listener: Listener) -> None:
    listener.true_tokens = {"a+b="}
    headers = {
        "x-amz-rules-engine-message-type": "DestinationConfirmation",
        "x-amz-rules-engine-destination-arn": ARN,
    }
    for query in ("a+b=", "a%2Bb%3D"):
        url = URL(f"/ingest/?confirmationToken={query}", encoded=True)
        assert (await confirming.client.post(url, headers=headers)).status == 200
    assert {path for _, path, _ in listener.heard} == {"/confirmdestination/a%2Bb%3D"}
    url = URL("/ingest/?confirmationToken=a%2Bb%3D&confirmationToken=other", encoded=True)
    assert (await confirming.client.post(url, headers=headers)).status == 403
    assert len(listener.heard) == 2


async def test_an_answer_that_can_not_be_read_is_503(
    confirming: Receiver, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener.garbled = True
    assert (await challenge(confirming, "token")).status == 503

    async def unreadable() -> None:
        raise ResponseParserError("STS answered something else")

    monkeypatch.setattr(confirming.app[keys.CONFIRMATION], "_iot", unreadable)
    response = await challenge(confirming, "token")
    assert (response.status, response.content_type) == (503, "application/problem+json")
    assert await confirming.metric('iot_receiver_confirmations_total{outcome="failed"}') == 2


async def test_a_large_confirmation_is_not_read_to_its_end(confirming: Receiver, listener: Listener) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 4_096
            await asyncio.sleep(0)

    headers = {"x-amz-rules-engine-message-type": "DestinationConfirmation"}
    response = await confirming.client.post("/ingest", data=endless(), headers=headers)
    assert response.status == 413
    assert listener.heard == []


async def test_a_missing_permission_is_named(
    confirming: Receiver, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    listener.refusal = "AccessDeniedException"
    assert (await challenge(confirming, "token")).status == 503
    [fields] = [record.__dict__["fields"] for record in caplog.records if record.levelname == "ERROR"]
    assert fields == {"code": "AccessDeniedException", "action": "iot:ConfirmTopicRuleDestination"}


async def test_trouble_at_iot_core_is_503(confirming: Receiver, listener: Listener) -> None:
    listener.failing = True
    assert (await challenge(confirming, "token")).status == 503
    listener.failing = False
    listener.true_tokens = {"token"}
    assert (await challenge(confirming, "token")).status == 200


async def test_a_confirmation_opens_nothing_else(confirming: Receiver, listener: Listener) -> None:
    """The header that does without the secret can't be used to store something."""
    response = await challenge(confirming, "token", deviceId="d", temp=1)
    assert response.status == 403
    assert await confirming.metric('iot_receiver_messages_total{outcome="stored"}') == 0
