"""The hot path says to DynamoDB what the ordinary client says."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from iot_receiver import keys
from iot_receiver.credentials import Credentials
from iot_receiver.dynamodb import BatchWriter
from iot_receiver.signature import CONTENT_TYPE, Signer

from tests.service.faults import Faults
from tests.service.harness import REGION, Make, Table

ITEMS: list[dict[str, Any]] = [
    {"deviceId": {"S": "d"}, "Time": {"S": "t"}, "temperature": {"N": "21.5"}},
    {"deviceId": {"S": 'ü"\\\n'}, "Time": {"S": "t#😀"}, "temperature": {"N": "-1E-130"}},
]
TARGET = "DynamoDB_20120810.BatchWriteItem"


async def test_same_request_as_the_ordinary_client(faults: Faults, table: Table, dynamodb_url: str) -> None:
    faults.target = dynamodb_url
    session = get_session()
    credentials = Credentials(session)
    assert await credentials.refresh()
    puts = [json.dumps({"PutRequest": {"Item": item}}, ensure_ascii=False).encode() for item in ITEMS]
    config = AioConfig(retries={"total_max_attempts": 1, "mode": "standard"})
    async with session.create_client("dynamodb", region_name=REGION, config=config) as client:
        url = client.meta.endpoint_url
        await client.batch_write_item(RequestItems={table.name: [{"PutRequest": {"Item": item}} for item in ITEMS]})
    async with BatchWriter(url, REGION, table.name, credentials) as writer:
        assert (await writer.write(puts, 1.0)).left == []
    theirs, ours = faults.headers
    assert json.loads(faults.bodies[0]) == json.loads(faults.bodies[1])
    for name in ("X-Amz-Target", "Content-Type", "Host", "Accept-Encoding"):
        assert ours[name] == theirs[name], name
    # the same key, scope and signed headers; the signature is compared below
    signed = "SignedHeaders=content-type;host;x-amz-date;x-amz-target"
    assert ours["Authorization"].split(", ")[:2] == [theirs["Authorization"].split(", ")[0], signed]
    assert {row["deviceId"]["S"] for row in table.rows()} == {"d", ITEMS[1]["deviceId"]["S"]}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    url=st.sampled_from(
        ["https://dynamodb.us-east-2.amazonaws.com/", "http://127.0.0.1:8000/", "https://h:443/", "http://H:80/"]
    ),
    body=st.binary(),
    secret=st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1),
    token=st.none() | st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
    moment=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - Hypothesis wants them so
)
def test_the_signature_is_botocores(
    *, monkeypatch: pytest.MonkeyPatch, url: str, body: bytes, secret: str, token: str | None, moment: datetime
) -> None:
    moment = moment.replace(tzinfo=UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: moment)
    monkeypatch.setattr("iot_receiver.signature.time.gmtime", moment.timetuple)
    credentials = ReadOnlyCredentials("key", secret, token)
    headers = {"X-Amz-Target": TARGET, "Content-Type": CONTENT_TYPE}
    theirs = AWSRequest("POST", url, headers=headers, data=body)
    SigV4Auth(credentials, "dynamodb", REGION).add_auth(theirs)
    signer = Signer(url, REGION, "dynamodb", TARGET)
    for _ in range(2):  # anew, and with what is kept
        assert signer.headers(body, credentials) == dict(theirs.headers)


def test_what_is_kept_follows_the_credentials() -> None:
    signer = Signer("https://h/", REGION, "dynamodb", TARGET)
    said = [
        signer.headers(b"", ReadOnlyCredentials("key", secret, token))
        for secret, token in (("one", None), ("two", None), ("two", "token"), ("one", None))
    ]
    signatures = [headers["Authorization"].rsplit("=", 1)[1] for headers in said]
    assert len(set(signatures[:3])) == 3
    assert ["X-Amz-Security-Token" in headers for headers in said] == [False, False, True, False]


async def test_a_session_token_is_sent_and_signed(make_receiver: Make, faults: Faults) -> None:
    receiver = await make_receiver()
    credentials = receiver.app[keys.CREDENTIALS]
    assert credentials.current is not None
    credentials.current = credentials.current._replace(token="token")
    assert (await receiver.send({"deviceId": "d", "temp": 1})).status == 200
    assert faults.headers[-1]["X-Amz-Security-Token"] == "token"
    assert "x-amz-security-token" in faults.headers[-1]["Authorization"]
