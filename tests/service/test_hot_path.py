"""The hot path says to DynamoDB what the ordinary client says."""

import json
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from faults import Faults
from freezing import frozen_clock
from harness import REGION, Make, Table
from iot_receiver import keys
from iot_receiver.credentials import Credentials
from iot_receiver.dynamodb import BatchWriter

ITEMS: list[dict[str, Any]] = [
    {"deviceId": {"S": "d"}, "Time": {"S": "t"}, "temperature": {"N": "21.5"}},
    {"deviceId": {"S": 'ü"\\\n'}, "Time": {"S": "t#😀"}, "temperature": {"N": "-1E-130"}},
]


async def test_same_request_as_the_ordinary_client(faults: Faults, table: Table, dynamodb_url: str) -> None:
    faults.target = dynamodb_url
    session = get_session()
    credentials = Credentials(session)
    assert await credentials.refresh()
    puts = [json.dumps({"PutRequest": {"Item": item}}, ensure_ascii=False).encode() for item in ITEMS]
    config = AioConfig(retries={"total_max_attempts": 1, "mode": "standard"})
    with frozen_clock():
        async with session.create_client("dynamodb", region_name=REGION, config=config) as client:
            url = client.meta.endpoint_url
            await client.batch_write_item(RequestItems={table.name: [{"PutRequest": {"Item": item}} for item in ITEMS]})
        async with BatchWriter(url, REGION, table.name, credentials) as writer:
            assert await writer.write(puts, 1.0) == []
            theirs, ours = faults.headers
            assert json.loads(faults.bodies[0]) == json.loads(faults.bodies[1])
            for name in ("X-Amz-Target", "Content-Type", "X-Amz-Date", "Host"):
                assert ours[name] == theirs[name], name
            # signed by the same key for the same scope; the signature itself covers the body's very bytes
            assert ours["Authorization"].split(", ")[0] == theirs["Authorization"].split(", ")[0]
            same = writer.request([])
            assert "Authorization" in same.headers
    assert {row["deviceId"]["S"] for row in table.rows()} == {"d", ITEMS[1]["deviceId"]["S"]}


async def test_a_session_token_is_sent_and_signed(make_receiver: Make, table: Table, faults: Faults) -> None:
    receiver = await make_receiver()
    credentials = receiver.app[keys.CREDENTIALS]
    assert credentials.current is not None
    credentials.current = credentials.current._replace(token="token")
    assert (await receiver.send({"deviceId": "d", "temp": 1})).status == 200
    assert faults.headers[-1]["X-Amz-Security-Token"] == "token"
    assert "x-amz-security-token" in faults.headers[-1]["Authorization"]
