"""The receiver as it runs, with DynamoDB Local and emulated AWS services behind it."""

import gc
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from iot_receiver import concurrency, dead_letters, dynamodb, ingest
from iot_receiver import store as store_module
from iot_receiver.app import init_app
from iot_receiver.settings import Settings
from moto.server import ThreadedMotoServer
from moto.sqs.models import Queue

from tests.service.faults import Faults, faulty_dynamodb
from tests.service.harness import ACCOUNT, REGION, SECRET, Make, Receiver, Table, create_table, warm_up
from tests.support.dynamodb import dynamodb_local


@pytest.fixture(scope="session")
def dynamodb_url() -> Iterator[str]:
    """DynamoDB Local, for all tests."""
    with dynamodb_local() as url:
        warm_up(url)
        yield url


@pytest.fixture(autouse=True, scope="session")
def api_read_once() -> None:
    """Descriptions of AWS's APIs are read once for all clients of the tests, not by each for itself."""
    botocore.session.create_loader = cache(botocore.session.create_loader)


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    """STS and SQS, emulated, for all tests."""
    deletion, delete = threading.Lock(), Queue.delete_message

    def delete_alone(queue: Queue, receipt_handle: str) -> None:
        with deletion:
            delete(queue, receipt_handle)

    with pytest.MonkeyPatch.context() as patch:
        # moto rebuilds the whole list of messages: of two deletions at once, one would be undone.
        patch.setattr(Queue, "delete_message", delete_alone)
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


@pytest.fixture
def deadline() -> float:
    """The receiver's own deadline, in seconds, for tests that are about it."""
    return ingest.DEADLINE


@pytest.fixture(autouse=True)
def patience(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests get more time: DynamoDB Local, moto and the event loop are slow on a busy machine."""
    if "deadline" in request.fixturenames:
        return
    monkeypatch.setattr(ingest, "DEADLINE", 30.0)
    monkeypatch.setattr(store_module, "CALM_SECONDS", 20.0)
    for module in (dynamodb, dead_letters):
        monkeypatch.setattr(module, "CONNECT_TIMEOUT", 10.0)
    monkeypatch.setattr(dead_letters, "READ_TIMEOUT", 10.0)
    if "faults" not in request.fixturenames:  # those are about single calls, too
        monkeypatch.setattr(dynamodb, "REACH_TIMEOUT", 10.0)
        monkeypatch.setattr(concurrency, "REPEAT_SECONDS", 10.0)


@pytest.fixture(autouse=True, scope="module")
def garbage() -> Iterator[None]:
    """A receiver that starts freezes all objects (gc.freeze), those of former tests, too: end them after each file."""
    yield
    gc.unfreeze()
    gc.collect()


@pytest.fixture
async def make_receiver(aiohttp_client: Any, aws: None, table: Table, secrets_dir: Path) -> Make:
    """Makes a receiver with given settings."""

    async def make(**settings: Any) -> Receiver:
        known: dict[str, Any] = {
            "aws_region": REGION,
            "aws_account_id": ACCOUNT,
            "table_name": table.name,
            "secrets_dir": secrets_dir,
        }
        app = init_app(Settings(**(known | settings)))
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
