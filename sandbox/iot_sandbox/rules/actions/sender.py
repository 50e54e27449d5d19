"""POSTs with the HTTP action's retries.

https://docs.aws.amazon.com/iot/latest/developerguide/https-rule-action.html#https-rule-action-retry-logic
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import aiohttp

TRIES = 3
TIMEOUT_SECONDS = 3.0
"""For all tries together: the quota's value; the guide has none."""
ANSWER_LIMIT = 16_384
CONCURRENT_REQUESTS = 50
"""Further requests wait before their timeout begins: AWS could send them at once, this machine cannot."""
PAUSE_SECONDS = 0.05
"""Before the second try; doubled before the third. AWS documents none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a request: CloudWatch's metric (empty on success) and AWS's message."""

    metric: str = ""
    reason: str = ""

    @property
    def ok(self) -> bool:
        return not self.reason


class Sender:
    """One pool of connections for all rules; the service's certificate is verified against a bundle."""

    def __init__(self, ca_bundle: Path | None) -> None:
        self._context = ssl.create_default_context(cafile=ca_bundle)
        self._session: aiohttp.ClientSession | None = None
        self._turns = asyncio.Semaphore(CONCURRENT_REQUESTS)

    async def __aenter__(self) -> Sender:
        connector = aiohttp.TCPConnector(ssl=self._context, limit=0, keepalive_timeout=30, ttl_dns_cache=5)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Tries until success, a final answer, the third try or the timeout; never raises."""
        try:
            async with self._turns, asyncio.timeout(TIMEOUT_SECONDS):
                return await self._try_all(url, headers, body)
        except TimeoutError:
            return Outcome("HttpRequestTimeout", f"Request timed out after {TIMEOUT_SECONDS:g} seconds")
        except aiohttp.InvalidURL:
            return Outcome("HttpInvalidUrl", "The URL is invalid")
        except aiohttp.ClientConnectorDNSError as error:
            return Outcome("HttpUnknownHost", f"Unknown host: {error.host}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Outcome("HttpCode_Other", f"{type(error).__name__}: {error}")

    async def _try_all(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        for number in range(1, TRIES + 1):
            status, short = await self._try(url, headers, body)
            if 200 <= status < 300:
                return Outcome()
            again = (status == HTTPStatus.TOO_MANY_REQUESTS or 500 <= status < 600) and short
            if not again or number == TRIES:
                return Outcome(_metric(status), f"StatusCode: {status}. Reason: {_phrase(status)}.")
            await asyncio.sleep(PAUSE_SECONDS * 2 ** (number - 1) * random.uniform(0.5, 1))  # noqa: S311
        raise AssertionError("unreachable")

    async def _try(self, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bool]:
        """The status, and whether the answer is within the limit."""
        assert self._session, "use the sender as a context manager"  # noqa: S101
        async with self._session.post(url, headers=headers, data=body, allow_redirects=False) as response:
            size = 0
            async for chunk in response.content.iter_any():
                size += len(chunk)
                if size > ANSWER_LIMIT:
                    response.close()
                    return response.status, False
            return response.status, True


def _metric(status: int) -> str:
    families: dict[int, str] = {4: "HttpCode_4XX", 5: "HttpCode_5XX"}
    return families.get(status // 100, "HttpCode_Other")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


DestinationCheck = Callable[[str], bool]
"""Whether an enabled destination covers a URL."""
