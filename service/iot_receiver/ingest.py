"""POST /ingest: messages from IoT Core's HTTPS action, and its destination confirmations."""

import asyncio
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
from aiohttp import hdrs, web

from iot_receiver import keys
from iot_receiver.bodies import Bodies, Unread, too_large
from iot_receiver.confirmation import CONFIRMATION, MESSAGE_TYPE
from iot_receiver.dead_letters import NotQueued
from iot_receiver.logs import fault
from iot_receiver.messages import BodyError, Rejection, Row, is_array
from iot_receiver.problems import problem, unavailable
from iot_receiver.store import Overloaded, Unavailable
from iot_receiver.times import iso_from_ms

SECRET = "X-Iot-Secret"  # noqa: S105 - a header's name
MAX_BODY = 524_288  # bytes
BODIES_BYTES = 48 << 20  # of slow and of large bodies together, in a pod of 256 MiB
DEADLINE = 0.9  # seconds, so that IoT Core's three tries fit its timeout of 3 s
LISTED = 100  # results in an answer: IoT Core gives up on answers above 16 KiB


class Ingest:
    """The handler, with the parts of the application it works with."""

    def __init__(self, app: web.Application) -> None:
        self._app = app
        self._metrics = app[keys.METRICS]
        self._parser = app[keys.PARSER]
        self._secrets = app[keys.SECRETS]
        self._lifecycle = app[keys.LIFECYCLE]
        self._bodies = Bodies(MAX_BODY, BODIES_BYTES)

    async def post(self, request: web.Request) -> web.Response:
        """Answer one request, and count it."""
        if request.headers.get(MESSAGE_TYPE) == CONFIRMATION:
            return await self._app[keys.CONFIRMATION].confirm(request)
        started = time.perf_counter()
        try:
            response = self._refusal(request) or await self._messages(request)
        except ConnectionError:
            raise  # the caller has gone: nobody to answer
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is stored for sure: have it sent again
            fault("request_failed", "a request could not be handled", error=error)
            self._metrics.unavailable += 1  # or more: who knows what was in it
            response = unavailable("the request could not be handled")
        status = response.status
        self._metrics.answers[status] = self._metrics.answers.get(status, 0) + 1
        self._metrics.request_seconds.observe(time.perf_counter() - started)
        if self._lifecycle.closing:
            response.force_close()
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        """What the headers alone rule out; the secret comes first, so that others learn nothing."""
        headers = request.headers
        given = headers.get(SECRET)
        if given is None:
            return problem(401, f"the header {SECRET} is missing", headers={"WWW-Authenticate": SECRET})
        if not self._secrets.admits(given):
            return problem(403, f"the header {SECRET} holds no secret of this receiver")
        if (request.content_length or 0) > MAX_BODY:
            return too_large(MAX_BODY)
        if hdrs.CONTENT_ENCODING in headers:
            return problem(415, "the body must not be encoded")
        if not _is_json(headers.get(hdrs.CONTENT_TYPE, "application/json")):
            return problem(415, "the body must be application/json in UTF-8")
        return None

    async def _messages(self, request: web.Request) -> web.Response:
        try:
            body = await self._bodies.read(request)
        except Unread as unread:
            if unread.response.status == 503:
                self._metrics.unavailable += 1  # or more: nobody knows what is in it
            return unread.response
        deadline = asyncio.get_running_loop().time() + DEADLINE
        try:
            results = self._parser.parse(body)
        except BodyError as error:
            self._metrics.rejected += 1
            return problem(error.status, str(error))
        try:
            return await self._settle(body, results, deadline)
        except Overloaded:
            self._metrics.unavailable += len(results)
            return unavailable("the receiver is overloaded")
        except (Unavailable, NotQueued):
            self._metrics.unavailable += len(results)
            return unavailable("not everything could be stored in time")

    async def _settle(self, body: bytes, results: Sequence[Row | Rejection], deadline: float) -> web.Response:
        """Store what is a reading, find a place for what is none, and answer once both are done.

        Raises:
            Overloaded, Unavailable, NotQueued: when the whole body had better be sent again.
        """
        rows = [result for result in results if isinstance(result, Row)]
        stored = self._app[keys.STORE].submit(rows, deadline)
        for row in rows:
            if row.skew is not None:
                self._count_skew(row.skew)
        rejections = {index: result for index, result in enumerate(results) if isinstance(result, Rejection)}
        refusals = await stored
        if refusals:
            indices = [index for index in range(len(results)) if index not in rejections]
            messages = self._parser.split(body)
            for place, reason in refusals.items():
                rejections[indices[place]] = Rejection(reason, messages[indices[place]])
        if not rejections:
            self._metrics.stored += len(results)
            return _stored(len(results))
        return await self._rejected(body, len(results), rejections, deadline)

    async def _rejected(
        self, body: bytes, count: int, rejections: dict[int, Rejection], deadline: float
    ) -> web.Response:
        """Answer for a body that holds something other than readings; the readings are stored."""
        if not is_array(body):
            self._metrics.rejected += 1
            return problem(422, rejections[0].reason)
        results = [{"index": index, "reason": rejections[index].reason} for index in sorted(rejections)]
        members: dict[str, Any] = {
            "stored": count - len(rejections),
            "rejected": len(rejections),
            "results": results[:LISTED],
        }
        letters = self._app[keys.DEAD_LETTERS]
        if all(letters.take(rejection) for rejection in rejections.values()):
            received_at = iso_from_ms(time.time_ns() // 1_000_000)
            await letters.send(list(rejections.values()), received_at, deadline)
            self._metrics.stored += count - len(rejections)  # not before: unsent letters have it all sent again
            self._metrics.dead_lettered += len(rejections)
            return web.Response(body=msgspec.json.encode(members), content_type="application/json")
        self._metrics.stored += count - len(rejections)
        self._metrics.rejected += len(rejections)
        return problem(422, "some messages are no readings; the others are stored", **members)

    def _count_skew(self, skew: str) -> None:
        if skew == "ahead":
            self._metrics.ahead += 1
        else:
            self._metrics.behind += 1


def _stored(count: int) -> web.Response:
    return web.Response(body=b'{"stored":%d}' % count, content_type="application/json")


@lru_cache(maxsize=64)
def _is_json(content_type: str) -> bool:
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [part[8:].strip('"') for part in parameters if part.startswith("charset=")]
    return media == "application/json" and all(charset in {"utf-8", "utf8"} for charset in charsets)
