"""When the HTTP action tries again, and when it gives up."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from iot_sandbox.rules.actions import sender as module
from iot_sandbox.rules.actions.sender import ANSWER_LIMIT, Outcome, Sender

from tests.sandbox.rules.endpoint import Answer, Endpoint
from tests.support.certificates import Authority
from tests.support.ports import free_port


@pytest.fixture
async def sender(authority: Authority) -> AsyncIterator[Sender]:
    async with Sender(authority.certificate) as opened:
        yield opened


async def post(sender: Sender, endpoint: Endpoint, *answers: Answer) -> Outcome:
    endpoint.answers[:] = answers
    return await sender.post(endpoint.url + "/ingest", {"X-A": "b"}, b"{}")


@pytest.mark.parametrize(
    ("statuses", "tries", "metric"),
    [
        ([200], 1, ""),
        ([204], 1, ""),
        ([503, 200], 2, ""),
        ([429, 500, 202], 3, ""),
        ([599, 503, 500, 200], 3, "HttpCode_5XX"),
        ([429, 429, 429, 200], 3, "HttpCode_4XX"),
        ([400, 200], 1, "HttpCode_4XX"),
        ([408, 200], 1, "HttpCode_4XX"),
        ([302, 200], 1, "HttpCode_Other"),
        ([503, 404, 200], 2, "HttpCode_4XX"),
    ],
)
async def test_statuses(sender: Sender, endpoint: Endpoint, statuses: list[int], tries: int, metric: str) -> None:
    outcome = await post(sender, endpoint, *map(Answer, statuses))
    assert (outcome.ok, outcome.metric, len(endpoint.requests)) == (metric == "", metric, tries)


async def test_reasons_are_aws_own_words(sender: Sender, endpoint: Endpoint) -> None:
    outcome = await post(sender, endpoint, Answer(500))
    assert outcome.reason == "StatusCode: 500. Reason: Internal Server Error."


async def test_a_long_answer_is_not_followed_by_another_try(sender: Sender, endpoint: Endpoint) -> None:
    await post(sender, endpoint, Answer(503, b"x" * ANSWER_LIMIT), Answer())
    assert len(endpoint.requests) == 2
    outcome = await post(sender, endpoint, Answer(503, b"x" * (ANSWER_LIMIT + 1)), Answer())
    assert (outcome.metric, len(endpoint.requests)) == ("HttpCode_5XX", 3)


async def test_a_closed_connection_is_not_followed_by_another_try(sender: Sender, endpoint: Endpoint) -> None:
    outcome = await post(sender, endpoint, Answer(disconnect=True), Answer())
    assert (outcome.metric, len(endpoint.requests)) == ("HttpCode_Other", 1)


async def test_all_tries_share_three_seconds(sender: Sender, endpoint: Endpoint) -> None:
    began = time.monotonic()
    outcome = await post(sender, endpoint, Answer(503, delay=1.6))
    assert outcome.metric == "HttpRequestTimeout"
    assert 2.8 < time.monotonic() - began < 5
    assert len(endpoint.requests) == 2


async def test_connections_are_kept(sender: Sender, endpoint: Endpoint) -> None:
    for _ in range(5):
        assert (await post(sender, endpoint, Answer(503, b"busy"), Answer())).ok
    assert len(endpoint.requests) == 10
    assert len(endpoint.connections) == 1


async def test_requests_beyond_the_limit_wait_without_losing_time(
    sender: Sender, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio  # noqa: PLC0415

    monkeypatch.setattr(module, "CONCURRENT_REQUESTS", 1)
    async with Sender(Path(endpoint.authority.certificate)) as narrow:
        endpoint.answers[:] = [Answer(delay=1.2)]
        outcomes = await asyncio.gather(*(narrow.post(endpoint.url, {}, b"") for _ in range(4)))
    assert all(outcome.ok for outcome in outcomes)


async def test_certificates_are_verified(endpoint: Endpoint) -> None:
    async with Sender(Path(ssl.get_default_verify_paths().openssl_cafile)) as stranger:
        outcome = await stranger.post(endpoint.url, {}, b"")
    assert outcome.metric == "HttpCode_Other"
    assert "certificate verify failed" in outcome.reason
    assert not endpoint.requests


async def test_an_endpoint_that_is_not_there(sender: Sender) -> None:
    refused = await sender.post(f"https://localhost:{free_port()}", {}, b"")
    assert refused.metric == "HttpCode_Other"
    unknown = await sender.post("https://nowhere.invalid", {}, b"")
    assert unknown.metric == "HttpUnknownHost"
    assert (await sender.post("https://:0/", {}, b"")).metric == "HttpInvalidUrl"
