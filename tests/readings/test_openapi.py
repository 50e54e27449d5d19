"""The OpenAPI document is valid, names what is served, and every answer is as it says."""

import json
from typing import Any

import pytest
from aiohttp import web
from iot_readings.api import routes
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from tests.readings.harness import Readings, ledger, now, row, store
from tests.service.harness import Table


@pytest.fixture
async def document(readings: Readings) -> dict[str, Any]:
    """The document, as served."""
    return await readings.ask("/openapi.json")


async def test_document_is_valid_and_names_every_path(document: dict[str, Any]) -> None:
    validate(document)
    assert list(document["paths"]) == [route.path for route in routes if isinstance(route, web.RouteDef)]


@pytest.mark.parametrize(
    ("path", "asked", "parameters"),
    [
        ("/v1/devices", "/v1/devices", {}),
        ("/v1/devices/{device}/latest", "/v1/devices/d1/latest", {}),
        ("/v1/devices/{device}/latest", "/v1/devices/d2/latest", {}),
        ("/v1/devices/{device}/readings", "/v1/devices/d1/readings", {"limit": 3}),
        ("/v1/devices/{device}/readings", "/v1/devices/d1/readings", {"step": "2s", "limit": 3}),
        ("/v1/devices/{device}/readings", "/v1/devices/d1/readings", {"limit": "x"}),
        ("/v1/health", "/v1/health", {}),
        ("/v1/health", "/v1/health", {"x": 1}),
    ],
)
async def test_answers_are_as_the_document_says(
    readings: Readings, table: Table, path: str, asked: str, parameters: dict[str, Any]
) -> None:
    document = await readings.ask("/openapi.json")
    store(table, [*ledger("d1", 20, start=now() - 20_000), row("d1", now(), "1", clock_skew_ms={"N": "5"})])
    response = await readings.get(asked, **parameters)
    described = document["paths"][path]["get"]["responses"][str(response.status)]
    schema = described["content"][response.content_type]["schema"]
    OAS31Validator({**schema, "components": document["components"]}).validate(json.loads(await response.text()))


async def test_parameters_are_those_that_are_taken(readings: Readings, document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        if path == "/v1/stream":
            continue
        named = [each["name"] for each in item["get"].get("parameters", []) if each["in"] == "query"]
        _, detail = await readings.refused(path.replace("{device}", "d1"), nix=1)
        assert detail == f"there is no parameter 'nix': there are {', '.join(named) or 'none'}"
