"""Confirms the topic rule destination for which IoT Core sends a challenge.

The request carries no secret: anybody can send one. So nothing in it is trusted except the token, which goes
into one signed call to IoT Core under this process's own role; `enableUrl` is never fetched.

Only IoT Core can tell a valid token from a false one, and calls to it are rationed. So anybody who knows this
account and region can delay a confirmation with a flood of false tokens, for as long as the flood lasts; it
ends in 429, and role iot_core has the challenge sent again while it is not answered.
"""

import asyncio
import re
from collections import OrderedDict
from contextlib import AsyncExitStack
from hashlib import sha256
from time import monotonic
from typing import Any
from urllib.parse import unquote

import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from aiohttp import web
from botocore.exceptions import ClientError

from iot_receiver.bodies import Bodies, Unread
from iot_receiver.logs import event, fault
from iot_receiver.metrics import Metrics
from iot_receiver.problems import problem, unavailable
from iot_receiver.settings import Settings

MESSAGE_TYPE = "x-amz-rules-engine-message-type"
DESTINATION_ARN = "x-amz-rules-engine-destination-arn"
CONFIRMATION = "DestinationConfirmation"

BODY_BYTES = 16_384
BODIES_BYTES = 2 << 20  # of all together: separate from the messages' budget, which strangers must not use up
BURST = 5.0  # calls to IoT Core at once
PER_SECOND = 0.2  # and from then on
REMEMBERED = 256
# URL-safe: the token becomes a part of the path of a signed request, and must not lead it elsewhere
_TOKEN = re.compile(r"(?!\.)[A-Za-z0-9_=+~.-]{1,2048}")
# IoT Core's own answers to a token that is false, expired or used
_FALSE_TOKEN = frozenset({"InvalidRequestException", "ResourceNotFoundException", "UnauthorizedException"})


class _Body(msgspec.Struct):
    arn: str | None = None
    token: str | None = msgspec.field(default=None, name="confirmationToken")


class Confirmation:
    """Answers destination confirmations; use within `async with`."""

    def __init__(self, session: AioSession, settings: Settings, partition: str, metrics: Metrics) -> None:
        self._session = session
        self._region = settings.aws_region
        self._metrics = metrics
        self._open = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._client: Any = None
        self._bodies = Bodies(BODY_BYTES, BODIES_BYTES)
        self._arn = re.compile(
            rf"arn:{re.escape(partition)}:iot:{re.escape(settings.aws_region)}:{settings.aws_account_id}"
            r":ruledestination/http/[A-Za-z0-9-]{1,64}"
        )
        self._allowance = BURST
        self._asked = monotonic()
        self._answered: OrderedDict[bytes, bool] = OrderedDict()  # by digest of the token: was it true?

    async def __aenter__(self) -> "Confirmation":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()

    async def confirm(self, request: web.Request) -> web.Response:
        """Answer a confirmation request."""
        try:
            token = self._token(request, await self._bodies.read(request))
        except Unread as unread:
            return self._count("limited" if unread.response.status == 503 else "refused", unread.response)
        except ValueError as error:
            return self._count("refused", problem(403, str(error)))
        return await self._answer(token)

    async def _answer(self, token: str) -> web.Response:
        known = self._answered.get(sha256(token.encode()).digest())
        if known is False:
            return self._count("refused", problem(403, "IoT Core did not accept this token"))
        if not self._allowed():
            if known:
                return self._count("confirmed", web.json_response({"confirmed": True}))
            return self._count("limited", problem(429, "too many confirmations at once", headers={"Retry-After": "5"}))
        return await self._call(token)

    def _token(self, request: web.Request, body: bytes) -> str:
        """Read the token.

        Raises:
            ValueError: with the reason, when there is no usable one.
        """
        try:
            content = msgspec.json.decode(body, type=_Body) if body else _Body()
        except (ValueError, RecursionError):
            raise ValueError("the body is not a confirmation") from None
        tokens = {text for text in (*_query_tokens(request.rel_url.raw_query_string), content.token) if text}
        if len(tokens) != 1:
            raise ValueError("there must be exactly one confirmationToken")
        token = tokens.pop()
        if not _TOKEN.fullmatch(token) or ".." in token:
            raise ValueError("confirmationToken is not a token of IoT Core")
        given = (*map(_unquoted, request.headers.getall(DESTINATION_ARN, ())), content.arn)
        arns = {text for text in given if text is not None}
        if not arns:
            raise ValueError("the destination's ARN is missing")
        if not all(self._arn.fullmatch(arn) for arn in arns):
            raise ValueError("the destination is not one of this account and region")
        return token

    async def _call(self, token: str) -> web.Response:
        try:
            client = await self._iot()
            await client.confirm_topic_rule_destination(confirmationToken=token)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _FALSE_TOKEN:
                self._remember(token, true=False)
                return self._count("refused", problem(403, "IoT Core did not accept this token"))
            action = "iot:ConfirmTopicRuleDestination"
            fault("confirmation_failed", "IoT Core could not be asked to confirm", code=code, action=action)
            return self._count("failed", unavailable("IoT Core could not be asked to confirm"))
        except Exception as error:  # noqa: BLE001 - botocore fails to parse some answers, in many ways
            fault("confirmation_failed", "IoT Core could not be asked to confirm", error=error)
            return self._count("failed", unavailable("IoT Core could not be asked to confirm"))
        event("destination_confirmed", "a topic rule destination was confirmed")
        self._remember(token, true=True)
        return self._count("confirmed", web.json_response({"confirmed": True}))

    async def _iot(self) -> Any:
        """The client of IoT Core, made made on first use: few processes need it."""
        async with self._opening:
            if self._client is None:
                loader = self._session.get_component("data_loader")
                # in a thread: reading this model takes as long as many requests
                await asyncio.to_thread(loader.load_service_model, "iot", "service-2")
                retries = {"mode": "standard", "total_max_attempts": 1}
                config = AioConfig(connect_timeout=1, read_timeout=2, retries=retries)
                context = self._session.create_client("iot", region_name=self._region, config=config)
                self._client = await self._open.enter_async_context(context)
        return self._client

    def _allowed(self) -> bool:
        """Take one call out of the allowance, if there is one."""
        now = monotonic()
        self._allowance = min(BURST, self._allowance + (now - self._asked) * PER_SECOND)
        self._asked = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def _remember(self, token: str, *, true: bool) -> None:
        self._answered[sha256(token.encode()).digest()] = true
        if len(self._answered) > REMEMBERED:
            self._answered.popitem(last=False)

    def _count(self, outcome: str, response: web.Response) -> web.Response:
        self._metrics.confirmations[outcome] += 1
        return response


def _query_tokens(query: str) -> list[str]:
    """The tokens of a URL, undecoded but for %: form decoding would turn a `+` into a space."""
    members = (member.partition("=") for member in query.split("&"))
    return [unquote(value) for name, _, value in members if name == "confirmationToken"]


def _unquoted(value: str) -> str:
    """A header's value without the quotes that AWS's guide prints around the ARN."""
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
