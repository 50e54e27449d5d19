"""Readiness and the stop of the process."""

import asyncio

from aiohttp import web

from iot_receiver.credentials import Credentials
from iot_receiver.problems import unavailable


class Lifecycle:
    """Ready means started, DynamoDB reached, with credentials that are valid, and not stopping.

    Attributes:
        reached: DynamoDB has answered once.
        stopping: SIGTERM has come; requests are still served until the load balancer has deregistered the target.
        closing: no more requests are expected; each answer closes its connection.
    """

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self.started = False
        self.reached = asyncio.Event()
        self.stopping = False
        self.closing = False
        self.stop_requested = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether requests are welcome."""
        return self.started and self.reached.is_set() and not self.stopping and self._credentials.valid

    def stop(self) -> None:
        """Begin to stop (the handler of SIGTERM)."""
        self.stopping = True
        self.stop_requested.set()

    async def readyz(self, _: web.Request) -> web.Response:
        """GET /readyz."""
        if self.ready:
            return web.Response(text="ready\n")
        if self.stopping:
            return unavailable("stopping")
        return unavailable("DynamoDB has not answered yet" if self._credentials.valid else "no valid AWS credentials")

    async def livez(self, _: web.Request) -> web.Response:
        """GET /livez: the event loop turns."""
        return web.Response(text="alive\n")
