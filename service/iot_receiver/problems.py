"""Errors as application/problem+json (RFC 9457): tiny, since IoT Core gives up above 16 KiB of answer."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem(status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: object) -> web.Response:
    """Answer with an error; `members` are further members of the problem."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail, **members}
    return web.Response(
        status=status,
        body=msgspec.json.encode(body),
        headers=headers,
        content_type="application/problem+json",
    )


def unavailable(detail: str) -> web.Response:
    """503: IoT Core tries again; Retry-After asks it to wait a second."""
    return problem(503, detail, headers={"Retry-After": "1"})


async def not_found(_: web.Request) -> web.Response:
    """Any other path."""
    return problem(404, "messages go to /ingest")


def only(*methods: str) -> Handler:
    """Any other method of a path that serves `methods`."""

    async def not_allowed(_: web.Request) -> web.Response:
        allowed = ", ".join(methods)
        return problem(405, f"only {allowed} is allowed here", headers={"Allow": allowed})

    return not_allowed
