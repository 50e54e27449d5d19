"""Reads requests' bodies, with limits on size, time and the memory of all together."""

import asyncio
from typing import Any, cast

from aiohttp import StreamReader, web

from iot_receiver.problems import problem, unavailable

BODY_SECONDS = 10.0


class Unread(Exception):  # noqa: N818 - not a fault of the program
    """The body could not be read.

    Attributes:
        response: what to answer.
    """

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


class Bodies:
    """Reads bodies of at most `limit` bytes.

    A body that arrived together with its headers, as nearly all do, is taken as it is. How long the others stay in
    memory is up to their senders: together they may take `budget` bytes, each until its request is answered.
    """

    def __init__(self, limit: int, budget: int) -> None:
        self.limit = limit
        self._budget = budget
        self._held = 0

    async def read(self, request: web.Request) -> bytes:
        """The body of a request.

        Raises:
            Unread: when it is too large or too slow, or when others use up the budget.
        """
        if (request.content_length or 0) > self.limit:
            raise Unread(too_large(self.limit))
        if not request.content.is_eof():
            return await self._gathered(request.content)
        body = request.content.read_nowait()
        if len(body) > self.limit:
            raise Unread(too_large(self.limit))
        return body

    async def _gathered(self, content: StreamReader) -> bytes:
        body = bytearray()
        size = 0

        def answered(_: object) -> None:
            self._held -= size

        request = cast("asyncio.Task[Any]", asyncio.current_task())  # aiohttp runs each in a task of its own
        request.add_done_callback(answered)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while not content.at_eof():
                    piece = await content.readany()
                    size += len(piece)
                    self._held += len(piece)
                    if size > self.limit:
                        raise Unread(too_large(self.limit))
                    if self._held > self._budget:
                        raise Unread(unavailable("too many bodies arrive at once"))
                    body += piece
        except TimeoutError:
            raise Unread(_too_slow()) from None
        return bytes(body)


def too_large(limit: int) -> web.Response:
    """The answer to a body of more than `limit` bytes."""
    return problem(413, f"the body is larger than {limit} bytes")


def _too_slow() -> web.Response:
    response = problem(408, f"the body did not arrive within {BODY_SECONDS:g} s")
    response.force_close()  # the rest of it may still arrive
    return response
