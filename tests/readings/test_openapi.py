"""The OpenAPI document is valid, names what is served, and every answer is as it says."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from iot_readings.api import routes
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from tests.readings.harness import Readings, ledger, now, row, store
from tests.service.harness import Table

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


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


@pytest.mark.long
@pytest.mark.parametrize("settings", ["", '[parameters]\ndevice = "d1"\n'], ids=["any device", "a device"])
async def test_a_foreign_fuzzer_finds_no_fault(
    readings: Readings, table: Table, tmp_path: Path, settings: str
) -> None:
    store(table, [*ledger("d1", 20, start=now() - 20_000), *ledger("d1", 5)])
    (tmp_path / "schemathesis.toml").write_text(settings)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", str(readings.client.make_url("/openapi.json")),
        "--exclude-path", "/v1/stream",  # has no end
        "--checks", CHECKS, "--max-examples", "20", "--generation-deterministic", "--suppress-health-check", "all",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    assert re.search(r"([0-9]{3,}) generated, \1 passed", output), output
