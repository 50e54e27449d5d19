"""An HTTPS endpoint that records what it gets and answers as a test says."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.certificates import Authority
from tests.support.ports import free_port


@dataclass
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    delay: float = 0
    disconnect: bool = False


@dataclass
class Endpoint:
    """``answers`` are given in order; the last one stays."""

    authority: Authority
    answers: list[Answer] = field(default_factory=lambda: [Answer()])
    requests: list[Request] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)

    async def __aenter__(self) -> Endpoint:
        identity = self.authority.issue("endpoint")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(identity.certificate, identity.key)
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        port = free_port()
        await web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=context).start()
        self.url = f"https://localhost:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        self.requests.append(Request(request.path_qs, request.headers.copy(), await request.read()))
        assert request.transport
        self.connections.add(request.transport.get_extra_info("peername"))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer.delay:
            import asyncio  # noqa: PLC0415

            await asyncio.sleep(answer.delay)
        if answer.disconnect:
            request.transport.abort()
        return web.Response(status=answer.status, body=answer.body)
