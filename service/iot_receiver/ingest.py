"""POST /ingest: messages from IoT Core's HTTPS action, and its destination confirmations."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from aiohttp import hdrs, web

from iot_receiver import admission, keys
from iot_receiver.bodies import Bodies, Unread, too_large
from iot_receiver.confirmation import CONFIRMATION, MESSAGE_TYPE
from iot_receiver.dead_letters import NotQueued
from iot_receiver.elements import is_array
from iot_receiver.logs import fault
from iot_receiver.messages import BodyError, Rejection
from iot_receiver.metrics import Rejected
from iot_receiver.problems import problem, unavailable
from iot_receiver.rows import Row
from iot_receiver.server import waited
from iot_receiver.store import Overloaded, Unavailable
from iot_receiver.times import iso_from_ms

SECRET = "X-Iot-Secret"  # noqa: S105 - a header's name
MAX_BODY = 524_288  # bytes
BODIES_BYTES = 16 << 20  # of all bodies together, in a pod of 256 MiB: what is made of them takes several times that
SMALL = 8_192  # bytes that are read at once, whatever they are
SLICE_SECONDS = 0.005
DEADLINE = 0.9  # seconds, so that IoT Core's three tries fit its timeout of 3 s
STARVED_SECONDS = 0.12  # a request waits so long to be read only where the processor is short
LISTED = 50  # results in an answer: IoT Core gives up on answers above 16 KiB


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
            raise  # the caller has gone
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is stored for sure: have it sent again
            fault("request_failed", "a request could not be handled", error=error)
            self._metrics.unavailable += 1  # or more: its content is unknown
            response = unavailable("the request could not be handled")
        status = response.status
        self._metrics.answers[status] = self._metrics.answers.get(status, 0) + 1
        self._metrics.request_seconds.observe(time.perf_counter() - started)
        if self._lifecycle.closing:
            response.force_close()
        return response

    def _refusal(self, request: web.Request) -> web.Response | None:
        """Refuse what the headers alone rule out; the secret comes first, so that strangers learn nothing."""
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
                self._metrics.unavailable += 1  # or more: its content is unknown
            return unread.response
        waiting = waited(request)
        response = await self._answer(body, waiting)
        if waiting > STARVED_SECONDS:
            response.force_close()  # fewer connections to read from: those that are left are read in time
        return response

    async def _answer(self, body: bytes, waiting: float) -> web.Response:
        deadline = asyncio.get_running_loop().time() + DEADLINE - waiting
        late = waiting > DEADLINE - admission.STORING_SECONDS
        if late or self._app[keys.STORE].overloaded(deadline):  # before anything is spent on the body
            self._metrics.unavailable += 1
            return unavailable("the receiver is overloaded")
        try:
            results = await self._parsed(body)
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

    async def _parsed(self, body: bytes) -> list[Row | Rejection]:
        """Read a body; others are served in between when it takes long.

        Raises:
            BodyError: when nothing in it could be answered one by one.
        """
        if len(body) <= SMALL:
            return self._parser.parse(body)
        results: list[Row | Rejection] = []
        paused = time.perf_counter()
        for part in self._parser.parts(body):
            results += part
            if time.perf_counter() - paused > SLICE_SECONDS:
                await asyncio.sleep(0)
                paused = time.perf_counter()
        return results

    async def _settle(self, body: bytes, results: Sequence[Row | Rejection], deadline: float) -> web.Response:
        """Store the readings, find a place for the rest, and answer once both are done.

        Raises:
            Overloaded, Unavailable, NotQueued: when the whole body had better be sent again.
        """
        rows = [result for result in results if isinstance(result, Row)]
        stored = self._app[keys.STORE].submit(rows, deadline)
        for row in rows:
            if row.skew_ms is not None:
                self._count_skew(row.skew_ms)
        rejections: dict[int, Rejection] = {}
        if len(rows) < len(results):
            rejections = {number: result for number, result in enumerate(results) if isinstance(result, Rejection)}
        refusals = await stored
        if refusals:
            numbers = [number for number in range(len(results)) if number not in rejections]
            for place, reason in refusals.items():
                rejections[numbers[place]] = self._parser.rejection(body, numbers[place], reason)
        if not rejections:
            self._metrics.stored += len(results)
            return _stored(len(results))
        if len(results) == 1 and not is_array(body):
            self._metrics.rejected += 1
            self._note(rejections.values())
            return problem(422, rejections[0].reason)
        return await self._rejected(len(results), [rejections[number] for number in sorted(rejections)], deadline)

    async def _rejected(self, count: int, rejections: Sequence[Rejection], deadline: float) -> web.Response:
        """Answer for several messages, some of which are no readings; the readings are stored."""
        members: dict[str, Any] = {
            "stored": count - len(rejections),
            "rejected": len(rejections),
            "results": [_result(rejection) for rejection in rejections[:LISTED]],
        }
        queue = self._app[keys.DEAD_LETTERS]
        self._note(rejections)
        if all(queue.take(rejection) for rejection in rejections):
            received_at = iso_from_ms(time.time_ns() // 1_000_000)
            await queue.send(rejections, received_at, deadline)
            self._metrics.stored += count - len(rejections)  # not before: if sending fails, the whole body comes again
            self._metrics.dead_lettered += len(rejections)
            return web.Response(body=msgspec.json.encode(members), content_type="application/json")
        self._metrics.stored += count - len(rejections)
        self._metrics.rejected += len(rejections)
        return problem(422, "some messages are no readings; the others are stored", **members)

    def _note(self, rejections: Iterable[Rejection]) -> None:
        at = time.time_ns() // 1_000_000
        self._metrics.rejections.extend(Rejected(at, each.client_id, each.reason) for each in rejections)

    def _count_skew(self, skew_ms: int) -> None:
        if skew_ms > 0:
            self._metrics.ahead += 1
        else:
            self._metrics.behind += 1


def _result(rejection: Rejection) -> dict[str, Any]:
    element, place = rejection.source.element, rejection.source.place
    return {"index": element, **({} if place is None else {"place": place}), "reason": rejection.reason}


def _stored(count: int) -> web.Response:
    return web.Response(body=b'{"stored":%d}' % count, content_type="application/json")


@lru_cache(maxsize=64)
def _is_json(content_type: str) -> bool:
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [part[8:].strip('"') for part in parameters if part.startswith("charset=")]
    return media == "application/json" and all(charset in {"utf-8", "utf8"} for charset in charsets)
