"""What the tests know of the service and of the rows that it shows."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from iot_readings import keys
from iot_readings.measurements import Measurement

from tests.service.harness import Table

TEMPERATURE = Measurement("temperature", unit="°C")
START = 1_769_860_800_000  # 2026-01-31T12:00:00Z
Row = dict[str, Any]


@dataclass
class Readings:
    """The application, served, and a client of it."""

    app: web.Application
    client: TestClient[web.Request, web.Application]

    async def get(self, path: str, /, accept: str = "application/json", **parameters: Any) -> ClientResponse:
        """GET a path; `from_` is the parameter `from`."""
        query = {name.rstrip("_"): str(value) for name, value in parameters.items()}
        return await self.client.get(path, params=query, headers={"Accept": accept})

    async def ask(self, path: str, /, **parameters: Any) -> dict[str, Any]:
        """The JSON of an answer with 200."""
        response = await self.get(path, **parameters)
        document: dict[str, Any] = await response.json()
        assert response.status == 200, document
        return document

    async def refused(self, path: str, /, **parameters: Any) -> tuple[int, str]:
        """The status and the detail of a problem."""
        response = await self.get(path, **parameters)
        assert response.content_type == "application/problem+json"
        problem = await response.json()
        assert problem["status"] == response.status
        return response.status, problem["detail"]

    async def complete(self) -> None:
        """Wait until the registry was read."""
        await eventually(lambda: self.app[keys.REGISTRY].complete)


Make = Callable[..., Awaitable[Readings]]


async def eventually(holds: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


def iso(ms: int) -> str:
    """Milliseconds since 1970, as the receiver writes them."""
    return datetime.fromtimestamp(ms / 1_000, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def row(device: str, ms: int, temperature: str, message: str = "m", **attributes: dict[str, Any]) -> Row:
    """A row as the receiver writes it."""
    return {
        "deviceId": {"S": device},
        "Time": {"S": f"{iso(ms)}#{message}"},
        "temperature": {"N": temperature},
        "received_at": {"S": iso(ms + 40)},
        **attributes,
    }


def ledger(device: str, count: int, every_ms: int = 1_000, start: int = START) -> list[Row]:
    """Rows of a device that measures regularly, oldest first; the same each time."""
    values = random.Random(device)  # noqa: S311 - to be the same each time
    return [
        row(device, start + number * every_ms, f"{values.uniform(-20, 40):.4g}", f"m{number}")
        for number in range(count)
    ]


def store(table: Table, rows: Iterable[Row]) -> None:
    """Put rows into the table."""
    rows = list(rows)
    for first in range(0, len(rows), 25):
        puts = [{"PutRequest": {"Item": row}} for row in rows[first : first + 25]]
        answer = table.client.batch_write_item(RequestItems={table.name: puts})
        assert not answer["UnprocessedItems"]


def now() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1_000)
