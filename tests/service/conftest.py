"""The receiver as it runs, with DynamoDB Local and emulated AWS services behind it."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from aiobotocore.session import get_session
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient
from botocore.loaders import Loader
from dynamodb_local import dynamodb_local
from faults import Faults, faulty_dynamodb
from iot_receiver.app import init_app
from iot_receiver.settings import Settings
from moto.server import ThreadedMotoServer

SECRET = "sésame-0123456789"
ACCOUNT = "123456789012"
REGION = "us-east-2"

Client = TestClient[web.Request, web.Application]


@pytest.fixture(scope="session")
def dynamodb_url() -> Iterator[str]:
    """DynamoDB Local, for all tests."""
    with dynamodb_local() as url:
        warm_up(url)
        yield url


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


@pytest.fixture(scope="session")
def models() -> Loader:
    """botocore's models, read once for all applications of the tests."""
    return Loader()


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """STS and SQS, emulated, for all tests."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, dynamodb_url: str, moto_url: str, tmp_path: Path) -> None:
    """The environment of a process whose AWS is this machine."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": moto_url,
        "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


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


@pytest.fixture
def table(aws: None, dynamodb_url: str) -> Iterator[Table]:
    """An empty table."""
    session = botocore.session.get_session()
    client: Any = session.create_client("dynamodb", region_name=REGION, endpoint_url=dynamodb_url)
    name = f"telemetry-{uuid.uuid4()}"
    create_table(client, name)
    yield Table(name, client)
    client.delete_table(TableName=name)
    client.close()


@pytest.fixture
def secrets_dir(tmp_path: Path) -> Path:
    """A folder with one secret."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "current").write_text(SECRET + "\n", "utf-8")
    return folder


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


@pytest.fixture
async def make_receiver(aiohttp_client: Any, aws: None, table: Table, secrets_dir: Path, models: Loader) -> Make:
    """Makes a receiver with given settings."""

    async def make(**settings: Any) -> Receiver:
        known: dict[str, Any] = {
            "aws_region": REGION,
            "aws_account_id": ACCOUNT,
            "table_name": table.name,
            "secrets_dir": secrets_dir,
        }
        session = get_session()
        session.register_component("data_loader", models)
        app = init_app(Settings(**(known | settings)), session)
        client = await aiohttp_client(app, server_kwargs={"auto_decompress": False})
        return Receiver(app, client)

    return make


@pytest.fixture
async def receiver(make_receiver: Make) -> Receiver:
    """A receiver with the default settings."""
    return await make_receiver()


@pytest.fixture
async def faults(aws: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Faults]:
    """What goes wrong with DynamoDB; ask for it before the receiver."""
    async with faulty_dynamodb() as (url, faults):
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
        yield faults
