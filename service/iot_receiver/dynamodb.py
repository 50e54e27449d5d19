"""The hot path to DynamoDB: BatchWriteItem over connections of our own, body and signature by hand.

The ordinary client spends most of a small write on walking shapes and events, and on a general HTTP client. This does
what it does for this one call: same endpoint, credentials, signature, CAs and proxy; retries are the store's. The tests
compare it with the ordinary client.
"""

import asyncio
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from aiobotocore.session import AioSession

from iot_receiver.connection import Answer, Server
from iot_receiver.credentials import Credentials
from iot_receiver.logs import fault
from iot_receiver.rows import Item
from iot_receiver.signature import Signer

BATCH_ITEMS = 25  # BatchWriteItem's limit
CONNECT_TIMEOUT = 0.3  # seconds
REACH_TIMEOUT = 0.4  # seconds

# DynamoDB developer guide, "Error handling": throttles may be sent again, these others never succeed.
THROTTLES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "ThrottlingException",
        "RequestLimitExceeded",
        "ReplicatedWriteConflictException",
    }
)
REFUSALS = frozenset(
    {
        "ValidationException",
        "SerializationException",
        "ItemCollectionSizeLimitExceededException",
    }
)

EXPIRED = frozenset({"ExpiredTokenException", "ExpiredToken"})

_CODE = re.compile(r"[A-Za-z0-9]{1,64}")  # it becomes a metric's label

Key = tuple[str, str]


class Endpoint(NamedTuple):
    """Where DynamoDB is: its URL, and the partition of AWS, such as "aws" or "aws-cn"."""

    url: str
    partition: str


async def find_endpoint(session: AioSession, region: str) -> Endpoint:
    """Ask a client, which has to read all of DynamoDB's model for it."""
    async with session.create_client("dynamodb", region_name=region) as client:
        return Endpoint(client.meta.endpoint_url, client.meta.partition)


class Written(NamedTuple):
    """The outcome of a write: the keys that DynamoDB did not process, and the seconds that it took."""

    left: list[Key]
    seconds: float


class WriteError(Exception):
    """A call failed.

    Attributes:
        code: DynamoDB's name of the error, or the exception's.
        refused: at least one item is invalid: the same call would fail again.
        throttled: DynamoDB asks to come back later.
        answered: DynamoDB itself said so, and not a proxy or the network.
    """

    def __init__(self, code: str, detail: str = "", *, answered: bool = False) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.refused = code in REFUSALS
        self.throttled = code in THROTTLES
        self.answered = answered


class _Text(msgspec.Struct, gc=False):
    S: str


class _Item(msgspec.Struct, gc=False):
    device_id: _Text = msgspec.field(name="deviceId")
    time: _Text = msgspec.field(name="Time")


class _Put(msgspec.Struct, gc=False, rename="pascal"):
    item: _Item


class _Write(msgspec.Struct, gc=False, rename="pascal"):
    put_request: _Put


class _Answer(msgspec.Struct, gc=False, rename="pascal"):
    unprocessed_items: dict[str, list[_Write]]  # required: an answer without it says nothing of what is stored


class _Fault(msgspec.Struct, gc=False):
    type: str = msgspec.field(default="", name="__type")
    message: str = ""
    Message: str = ""


class _Found(msgspec.Struct, gc=False, rename="pascal"):
    responses: dict[str, list[Item]]


_decode_found = msgspec.json.Decoder(_Found).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_fault = msgspec.json.Decoder(_Fault).decode


class BatchWriter:
    """Calls BatchWriteItem for one table; use within `async with`."""

    def __init__(
        self, url: str, region: str, table: str, credentials: Credentials, *, ca_bundle: str | None = None
    ) -> None:
        url = url.rstrip("/") + "/"
        self._signer = Signer(url, region, "dynamodb", "DynamoDB_20120810.BatchWriteItem")
        self._reads = Signer(url, region, "dynamodb", "DynamoDB_20120810.BatchGetItem")
        self._table = table
        self._head = b'{"RequestItems":{%b:[' % msgspec.json.encode(table)
        self._credentials = credentials
        self._server = Server(url, ca_bundle)

    async def __aenter__(self) -> "BatchWriter":
        await self._server.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._server.__aexit__(None, None, None)

    async def reach(self) -> None:
        """Call DynamoDB until it answers, so that no message has to wait for a connection, TLS and the first call."""
        pause = 0.02  # seconds
        while True:
            try:
                await self.write([], REACH_TIMEOUT)
            except WriteError as error:
                if error.answered:  # that there is nothing to write
                    return
                if error.code != "NoCredentials":
                    fault("dynamodb_unreachable", "DynamoDB has not answered yet", code=error.code)
                await asyncio.sleep(pause)
                pause = min(1.0, 2 * pause)
            else:
                return

    async def write(self, puts: Sequence[bytes], timeout: float) -> Written:  # noqa: ASYNC109 - see connection.py
        """Write at most 25 items with different keys, each given as a PutRequest in JSON.

        Args:
            timeout: seconds.

        Raises:
            WriteError: when it is unknown whether any was written.
        """
        answer = await self._ask(self._signer, b"%b%b]}}" % (self._head, b",".join(puts)), timeout)
        if answer.body == b'{"UnprocessedItems":{}}':
            return Written([], answer.seconds)
        try:
            left = _decode_answer(answer.body).unprocessed_items
        except (ValueError, RecursionError):
            raise WriteError("BrokenAnswer") from None
        if not left.keys() <= {self._table}:
            raise WriteError("BrokenAnswer")
        writes = left.get(self._table, [])
        keys = [(write.put_request.item.device_id.S, write.put_request.item.time.S) for write in writes]
        return Written(keys, answer.seconds)

    async def read(self, keys: Iterable[Key], timeout: float) -> dict[Key, Item]:  # noqa: ASYNC109 - see connection.py
        """Read at most 25 items; those that DynamoDB has no time for are missing, too.

        Raises:
            WriteError: when DynamoDB does not say.
        """
        asked = [{"deviceId": {"S": device}, "Time": {"S": time}} for device, time in keys]
        request = {"RequestItems": {self._table: {"Keys": asked, "ConsistentRead": True}}}
        answer = await self._ask(self._reads, msgspec.json.encode(request), timeout)
        try:
            found = _decode_found(answer.body).responses.get(self._table, [])
            return {(item["deviceId"]["S"], item["Time"]["S"]): item for item in found}
        except (ValueError, KeyError, RecursionError):
            raise WriteError("BrokenAnswer") from None

    async def _ask(self, signer: Signer, content: bytes, timeout: float) -> Answer:  # noqa: ASYNC109 - see connection.py
        credentials = self._credentials.current
        if credentials is None:
            raise WriteError("NoCredentials")
        request = signer.request(content, credentials)
        try:
            answer = await self._server.ask(request, CONNECT_TIMEOUT, timeout)
        except TimeoutError:
            raise WriteError("Timeout") from None
        except OSError as broken:
            raise WriteError(type(broken).__name__) from broken
        checksum = answer.headers.get(b"x-amz-crc32")
        if checksum is not None and checksum != b"%d" % zlib.crc32(answer.body):
            raise WriteError("ChecksumMismatch")
        if answer.status != 200:
            error = _write_error(answer.status, answer.body)
            if error.code in EXPIRED:
                self._credentials.expired(credentials)
            raise error
        return answer


def _write_error(status: int, body: bytes) -> WriteError:
    try:
        said = _decode_fault(body)
    except (ValueError, RecursionError):
        said = _Fault()
    code = said.type.rsplit("#", 1)[-1]
    # an answer of a proxy or an overloaded front end is never the item's fault
    known = status == 400 and _CODE.fullmatch(code)
    return WriteError(code if known else f"Http{status}", said.message or said.Message, answered=bool(known))
