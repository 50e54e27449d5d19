"""Errors as application/problem+json (RFC 9457): tiny, since IoT Core gives up above 16 KiB of answer."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import msgspec
from aiohttp import web

from iot_receiver.logs import fault

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
    """503: IoT Core tries again, and is told to wait a second first."""
    return problem(503, detail, headers={"Retry-After": "1"})


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what aiohttp raises (404, 405, 413 ...) into problems."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return problem(error.status, _DETAILS.get(error.status, error.reason), headers=headers)
    except ConnectionError:
        raise  # the caller has gone: nobody to answer
    except Exception as error:  # noqa: BLE001 - whatever it is, the message is not stored: have it sent again
        fault("request_failed", "a request could not be handled", error=error)
        return unavailable("the request could not be handled")


_DETAILS = {
    404: "messages go to /ingest",
    405: "this method is not allowed here",
    413: "the body is too large",
}
