"""The service as it runs, with DynamoDB Local and an emulated registry of things behind it."""

from collections.abc import Callable, Iterator
from typing import Any

import botocore.session
import pytest
from iot_readings.app import init_app
from iot_readings.settings import Settings

from tests.readings.harness import TEMPERATURE, Make, Readings
from tests.service.conftest import (  # noqa: F401 - fixtures
    api_read_once,
    aws,
    dynamodb_url,
    make_receiver,
    moto_url,
    secrets_dir,
    table,
)
from tests.service.harness import REGION, Table


@pytest.fixture
def register(aws: None, moto_url: str) -> Iterator[Callable[..., None]]:  # noqa: F811
    """Registers things, which are gone after the test."""
    client: Any = botocore.session.get_session().create_client("iot", REGION, endpoint_url=moto_url)
    names: list[str] = []

    def register(*things: str, **attributes: str) -> None:
        for name in things:
            client.create_thing(thingName=name, attributePayload={"attributes": attributes})
            names.append(name)

    yield register
    for name in names:
        client.delete_thing(thingName=name)
    client.close()


@pytest.fixture
async def make_readings(
    aiohttp_client: Any, aws: None, table: Table, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> Make:
    """Makes the service with given settings; tests put devices into its fleet while the registry is empty."""
    monkeypatch.setattr("iot_readings.registry.EMPTY_SECONDS", 3_600)

    async def make(**settings: Any) -> Readings:
        known: dict[str, Any] = {"aws_region": REGION, "table_name": table.name, "measurements": (TEMPERATURE,)}
        app = init_app(Settings(**(known | settings)))
        return Readings(app, await aiohttp_client(app))

    return make


@pytest.fixture
def started(register: Callable[..., None], make_readings: Make) -> Make:
    """Starts what `readings` is, for tests that store rows first: the service may look at a device at any time."""

    async def start() -> Readings:
        register("d1", "d2", "d3")
        service = await make_readings()
        await service.complete()
        return service

    return start


@pytest.fixture
async def readings(started: Make) -> Readings:
    """The service with a fleet of three devices that it has read from the registry."""
    return await started()
