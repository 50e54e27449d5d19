"""Queries built by hand are the ordinary client's, and survive what DynamoDB may answer."""

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from iot_readings.table import Table, Unavailable
from iot_receiver.credentials import Credentials

from tests.readings.harness import START, Make, iso, ledger, store
from tests.service.harness import REGION
from tests.service.harness import Table as Rows


class Answers:
    """A DynamoDB that answers as told, then with no items."""

    def __init__(self) -> None:
        self.script: list[tuple[int, str]] = []
        self.calls: list[dict[str, object]] = []

    async def answer(self, request: web.Request) -> web.Response:
        """POST /."""
        self.calls.append(await request.json())
        status, text = self.script.pop(0) if self.script else (200, '{"Items":[]}')
        return web.Response(status=status, text=text)


@pytest.fixture
async def answers(aws: None) -> AsyncIterator[tuple[Answers, Table]]:
    """A scripted DynamoDB, and a table of it."""
    made = Answers()
    app = web.Application()
    app.router.add_post("/", made.answer)
    async with TestServer(app) as server:
        from aiobotocore.session import get_session  # noqa: PLC0415 - after the environment was set

        credentials = Credentials(get_session())
        await credentials.refresh()
        async with Table(str(server.make_url("/")), REGION, "rows", credentials) as table:
            yield made, table


async def test_rows_are_those_of_the_ordinary_client(make_readings: Make, table: Rows) -> None:
    from iot_readings import keys  # noqa: PLC0415 - the fixture's own name is table

    rows = ledger("d1", 1_200)
    store(table, rows)
    read = (await make_readings()).app[keys.TABLE]
    bounds = iso(START + 10_000)[:-1], iso(START + 1_150_000)[:-1]
    ordinary = table.client.query(
        TableName=table.name,
        KeyConditionExpression="deviceId = :d AND #t BETWEEN :l AND :u",
        ExpressionAttributeNames={"#t": "Time"},
        ExpressionAttributeValues={":d": {"S": "d1"}, ":l": {"S": bounds[0]}, ":u": {"S": bounds[1]}},
        ScanIndexForward=False,
    )["Items"]
    found = [item async for page in read.rows("d1", *bounds) for item in page]
    assert [(item["Time"].S, item["temperature"].N) for item in found] == [
        (item["Time"]["S"], item["temperature"]["N"]) for item in ordinary
    ]
    assert len(found) == 1_140


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (400, json.dumps({"__type": "com.amazonaws#ThrottlingException"}), "ThrottlingException"),
        (400, json.dumps({"__type": "x#AccessDeniedException"}), "AccessDeniedException"),
        (500, "{}", "HTTP 500"),
        (200, '{"Items": 7}', "ValidationError"),
        (502, "<html>", "DecodeError"),
    ],
)
async def test_trouble_is_tried_again_then_said(
    answers: tuple[Answers, Table], caplog: pytest.LogCaptureFixture, status: int, text: str, error: str
) -> None:
    dynamodb, table = answers
    dynamodb.script = [(status, text)] * 2
    assert (await table.query("d1")).items == []
    assert (table.usage.failing, table.usage.failures) == ("", {error: 2})
    dynamodb.script = [(status, text)] * 3
    with pytest.raises(Unavailable, match=error):
        await table.query("d1")
    [fields] = [record.__dict__["fields"] for record in caplog.records]
    assert fields == {"code": error, "action": "dynamodb:Query"}


async def test_only_query_is_called(answers: tuple[Answers, Table]) -> None:
    dynamodb, table = answers
    await table.query("d1", after="x")
    assert dynamodb.calls[0]["TableName"] == "rows"
    assert dynamodb.calls[0]["ExclusiveStartKey"] == {"deviceId": {"S": "d1"}, "Time": {"S": "x"}}
