"""Reads requests' bodies, with limits on size, time and the memory of all together."""

import asyncio
from functools import partial
from typing import Any, cast

from aiohttp import web

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

    How long they stay in memory is up to their senders, and to DynamoDB: together they may take `budget` bytes, each
    until its request is answered.
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
        pieces: list[bytes] = []
        task = cast("asyncio.Task[Any]", asyncio.current_task())  # aiohttp runs each request in a task of its own
        task.add_done_callback(partial(self._answered, pieces))
        content = request.content
        if content.is_eof():  # it arrived together with its headers, as nearly all do
            self._take(pieces, content.read_nowait())
            return pieces[0]
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while not content.at_eof():
                    self._take(pieces, await content.readany())
        except TimeoutError:
            raise Unread(_too_slow()) from None
        pieces[:] = [b"".join(pieces)]
        return pieces[0]

    def _take(self, pieces: list[bytes], piece: bytes) -> None:
        pieces.append(piece)
        self._held += len(piece)
        if sum(map(len, pieces)) > self.limit:
            raise Unread(too_large(self.limit))
        if self._held > self._budget:
            raise Unread(unavailable("too many bodies wait at once"))

    def _answered(self, pieces: list[bytes], _: object) -> None:
        self._held -= sum(map(len, pieces))


def too_large(limit: int) -> web.Response:
    """The answer to a body of more than `limit` bytes."""
    return problem(413, f"the body is larger than {limit} bytes")


def _too_slow() -> web.Response:
    response = problem(408, f"the body did not arrive within {BODY_SECONDS:g} s")
    response.force_close()  # the rest of it may still arrive
    return response
