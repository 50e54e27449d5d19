"""What the tests know of the receiver, its table and its clients."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import botocore.session
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

SECRET = "sésame-0123456789"
ACCOUNT = "123456789012"
REGION = "us-east-2"

Client = TestClient[web.Request, web.Application]


def create_table(client: Any, name: str) -> None:
    """Create a table of the receiver's schema."""
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[
            {"AttributeName": "deviceId", "KeyType": "HASH"},
            {"AttributeName": "Time", "KeyType": "RANGE"},
        ],
        AttributeDefinitions=[
            {"AttributeName": "deviceId", "AttributeType": "S"},
            {"AttributeName": "Time", "AttributeType": "S"},
        ],
    )


def warm_up(url: str) -> None:
    """Have DynamoDB Local's Java compiled before tests that are about time."""
    client: Any = botocore.session.get_session().create_client(
        "dynamodb", REGION, endpoint_url=url, aws_access_key_id="key", aws_secret_access_key="secret"
    )
    create_table(client, "warm")
    for batch in range(40):
        items = [{"deviceId": {"S": f"d{number}"}, "Time": {"S": f"t{batch}"}} for number in range(25)]
        client.batch_write_item(RequestItems={"warm": [{"PutRequest": {"Item": item}} for item in items]})
    client.delete_table(TableName="warm")
    client.close()


@dataclass
class Table:
    """A table of the receiver's schema."""

    name: str
    client: Any

    def rows(self) -> list[dict[str, Any]]:
        """All rows, as DynamoDB writes them, oldest key first."""
        rows: list[dict[str, Any]] = []
        for page in self.client.get_paginator("scan").paginate(TableName=self.name, ConsistentRead=True):
            rows += page["Items"]
        return sorted(rows, key=lambda row: (row["deviceId"]["S"], row["Time"]["S"]))


Make = Callable[..., Awaitable["Receiver"]]


@dataclass
class Receiver:
    """The application, served, and a client of it."""

    app: web.Application
    client: Client

    async def send(self, body: Any, /, **headers: str) -> ClientResponse:
        """POST to /ingest with the secret: bytes as they are, anything else as JSON."""
        given = {"X-Iot-Secret": SECRET, "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes):
            return await self.client.post("/ingest", data=body, headers=given)
        return await self.client.post("/ingest", json=body, headers=given)

    async def metric(self, line: str) -> float:
        """The value of one sample of /metrics."""
        text = await (await self.client.get("/metrics")).text()
        return next(float(each.split()[-1]) for each in text.splitlines() if each.startswith(line))
