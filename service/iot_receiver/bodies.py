"""Reads a request's body without waiting for ever."""

import asyncio

from aiohttp import web

from iot_receiver.problems import problem

BODY_SECONDS = 10.0


async def read(request: web.Request, limit: int) -> bytes:
    """The body, of at most `limit` bytes.

    Raises:
        TimeoutError: when it does not arrive within BODY_SECONDS.
        web.HTTPRequestEntityTooLarge: when it is larger.
    """
    if (request.content_length or 0) > limit:
        raise web.HTTPRequestEntityTooLarge(limit)
    if request.content.is_eof():  # as a rule it came together with the headers: no timer needed
        body = await request.read()
    else:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.read()
    if len(body) > limit:
        raise web.HTTPRequestEntityTooLarge(limit)
    return body


def too_slow() -> web.Response:
    """The answer to a body that did not arrive; the connection can't be used again."""
    response = problem(408, f"the body did not arrive within {BODY_SECONDS:g} s")
    response.force_close()
    return response
