"""From the body of a request to rows: parse, validate, and key each message by what it says itself."""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from typing import Annotated

import msgspec

from iot_receiver import numbers, times
from iot_receiver.settings import StoreSettings

MAX_MESSAGES = 1_000  # IoT Core batches at most 10; more than this is answered with 413
_LONGEST_NUMBER = 512  # characters; DynamoDB's widest number has 168

Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
_ABSENT = msgspec.Raw(b"null")
_HTTPS_PUBLISH = "n/a"  # clientid() of a message that came over HTTPS: nobody's name


class Reading(msgspec.Struct, gc=False, rename="camel"):
    """The members a device may send; any other is ignored.

    Numbers stay raw JSON text until they are read exactly: a float would change them.
    """

    device_id: Identifier
    temp: msgspec.Raw
    ts: msgspec.Raw = _ABSENT
    message_id: Identifier | None = None


class RuleReading(Reading, gc=False):
    """A reading with what only IoT Core knows, added by the rule's SELECT."""

    iot_received_at: msgspec.Raw = msgspec.field(default=_ABSENT, name="iot_received_at")
    iot_trace_id: Identifier | None = msgspec.field(default=None, name="iot_trace_id")
    iot_client_id: str | None = msgspec.field(default=None, name="iot_client_id")


@dataclass(slots=True, eq=False)
class Row:
    """One item of the table.

    Attributes:
        device_id, time: its key.
        put: the PutRequest of BatchWriteItem, as JSON.
        skew: "ahead" or "behind" when the message's time can't be right, else None.
    """

    device_id: str
    time: str
    put: bytes
    skew: str | None = None


@dataclass(slots=True, eq=False)
class Rejection:
    """A message that is no reading: why, and the text of it."""

    reason: str
    message: bytes


@dataclass(slots=True, frozen=True)
class Delivery:
    """What a dead letter tells of a message.

    Attributes:
        received_ms: when it was given up, in milliseconds since 1970.
        trace_id: IoT Core's id of it, or another that stays the same however often the letter is read.
        client_id: its publisher, by IoT Core.
        published: it is as its device sent it, so iot_* members in it are the device's own, and not true.
    """

    received_ms: int
    trace_id: str
    client_id: str | None = None
    published: bool = False


class BodyError(ValueError):
    """The body as a whole is no message and no array of messages."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def is_array(body: bytes) -> bool:
    """Say whether a body is a batch of messages (and not one)."""
    return body.lstrip(b" \t\r\n").startswith(b"[")


class MessageParser:
    """Reads bodies for one deployment's table schema and rule."""

    def __init__(self, settings: StoreSettings) -> None:
        reading = RuleReading if settings.rule_adds_metadata else Reading
        self._one = msgspec.json.Decoder(reading)
        self._sent = msgspec.json.Decoder(Reading)
        self._many = msgspec.json.Decoder(list[reading])  # type: ignore[valid-type]
        self._elements = msgspec.json.Decoder(list[msgspec.Raw])
        self._check_client = settings.rule_adds_metadata and settings.device_id_check == "client_id"
        self._by_receipt = settings.table_schema == "receipt_time"
        self._retention = settings.retention_days * 86_400
        self._clock = times.Clock()

    def parse(self, body: bytes) -> list[Row | Rejection]:
        """Make a row, or a rejection, of each message of the body.

        Raises:
            BodyError: when there is nothing that could be answered one by one.
        """
        receipt = self._clock.receipt()
        if not is_array(body):
            return [self._row_or_rejection(body, receipt)]
        try:
            readings = self._many.decode(body)
            if 0 < len(readings) <= MAX_MESSAGES:
                return [self._row(reading, receipt) for reading in readings]
        except (ValueError, RecursionError):
            pass  # at least one element is bad: find out which
        elements = self.split(body, MAX_MESSAGES + 1)
        if not elements:
            raise BodyError(422, "the array is empty")
        if len(elements) > MAX_MESSAGES:
            raise BodyError(413, f"the array has more than {MAX_MESSAGES} messages")
        return [self._row_or_rejection(element, receipt) for element in elements]

    def redriven(self, message: bytes, delivery: Delivery) -> Row | Rejection:
        """Make a row of a dead letter's message: the same one each time, but for schema `receipt_time`."""
        try:
            given = (self._sent if delivery.published else self._one).decode(message)
            members = {name: getattr(given, name) for name in given.__struct_fields__}
            if delivery.published:
                if self._check_client and delivery.client_id is None:
                    return Rejection("the dead letter does not say which client published it", message)
                members["iot_received_at"] = msgspec.Raw(b"%d" % delivery.received_ms)
                members["iot_client_id"] = delivery.client_id
            members["iot_trace_id"] = members.get("iot_trace_id") or delivery.trace_id
            return self._row(RuleReading(**members), times.receipt_at(delivery.received_ms))
        except UnicodeDecodeError:
            return Rejection("the message is not UTF-8", message)
        except (ValueError, RecursionError) as error:
            return Rejection(str(error), message)

    def split(self, body: bytes, most: int | None = None) -> list[bytes]:
        """The messages of a body, as they are written in it; after `most`, the others may be left out.

        Raises:
            BodyError: when they can't be told apart.
        """
        if not is_array(body):
            return [body]
        try:
            return [bytes(element) for element in self._elements.decode(body)]
        except (ValueError, RecursionError):
            pass
        try:
            return list(islice(_lenient_elements(body), most))
        except ValueError:
            raise BodyError(422, "the body is not JSON") from None

    def _row_or_rejection(self, message: bytes, receipt: times.Receipt) -> Row | Rejection:
        try:
            return self._row(self._one.decode(message), receipt)
        except UnicodeDecodeError:
            return Rejection("the message is not UTF-8", message)
        except (ValueError, RecursionError) as error:
            return Rejection(str(error), message)

    def _row(self, reading: Reading, receipt: times.Receipt) -> Row:
        device = reading.device_id
        temperature = _temperature(bytes(reading.temp))
        rule = reading if isinstance(reading, RuleReading) else _NO_RULE
        # The rule always adds it: where it is missing, or null, whoever knows the secret wrote the body by hand.
        client = rule.iot_client_id
        if self._check_client and client is not None and (client != device or client == _HTTPS_PUBLISH):
            raise ValueError("deviceId is not the client id of its publisher")
        sent = _instant("ts", bytes(reading.ts))
        arrived = _instant("iot_received_at", bytes(rule.iot_received_at))
        skew = None
        members = b""

        if sent is not None:
            identity = reading.message_id or _digest(device, temperature, sent)
            moment = sent.iso
            if not receipt.earliest <= moment <= receipt.latest:
                skew = "ahead" if moment > receipt.latest else "behind"
                off = times.ms_from_iso(moment) - times.ms_from_iso(receipt.iso)
                members = b',"clock_skew_ms":{"N":"%d"}' % off
        elif arrived is not None:
            identity = reading.message_id or rule.iot_trace_id or _digest(device, temperature, arrived)
            moment = arrived.iso
        else:
            identity = reading.message_id or rule.iot_trace_id or secrets.token_hex(16)
            moment = receipt.iso
        if (sent is None or self._by_receipt) and rule.iot_trace_id:
            # The key does not follow from the message: by this a redrive sees that it is stored already.
            members += b',"trace_id":{"S":%b}' % _encode(rule.iot_trace_id)
        if self._retention:
            members += b',"ttl":{"N":"%d"}' % (receipt.epoch + self._retention)

        time = self._clock.unique() if self._by_receipt else f"{moment}#{identity}"
        put = b'{"PutRequest":{"Item":{"deviceId":{"S":%b},"Time":{"S":%b},"temperature":{"N":"%b"},' % (
            _encode(device),
            _encode(time),
            temperature.encode(),
        ) + b'"received_at":{"S":"%b"}%b}}}' % (receipt.iso.encode(), members)
        return Row(device, time, put, skew)


_NO_RULE = RuleReading("-", _ABSENT)
_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=8_192)  # a fleet's temperatures repeat
def _temperature(raw: bytes) -> str:
    if raw[:1] not in b"-0123456789":
        raise ValueError("temp is not a number")
    if len(raw) > _LONGEST_NUMBER:
        raise ValueError(f"temp has more than {_LONGEST_NUMBER} characters")
    try:
        return numbers.canonical(raw.decode())
    except ValueError as error:
        raise ValueError(f"temp {error}") from None


def _instant(member: str, raw: bytes) -> times.Instant | None:
    """Read a member that is RFC 3339 text, milliseconds since 1970, or absent."""
    if raw == b"null":
        return None
    try:
        if raw[:1] == b'"':
            return times.from_text(raw[1:-1].decode() if b"\\" not in raw else msgspec.json.decode(raw, type=str))
        if raw[:1] in b"-0123456789" and len(raw) <= _LONGEST_NUMBER:
            return times.from_epoch(numbers.exact(raw.decode()))
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        raise ValueError(f"{member} {error}") from None
    raise ValueError(f"{member} is neither an RFC 3339 time nor milliseconds since 1970")


def _digest(device: str, temperature: str, instant: times.Instant) -> str:
    """The id of a message without one: the same for the same reading, however its members are written."""
    known = _encode((device, temperature, instant.iso, instant.finer))
    return blake2b(known, digest_size=16).hexdigest()


_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_SPACE = re.compile(rb"[ \t\r\n]*+")
_PLAIN = re.compile(_STRING + rb'|[^ \t\r\n"\[\]{},]++', re.DOTALL)
_BRACKETS = re.compile(rb"(?:" + _STRING + rb'|[^"\[\]{}]++)*+(?:([\[{]++)|([\]}]++))', re.DOTALL)
_NEXT = re.compile(rb"[ \t\r\n]*+([,\]])")


def _lenient_elements(body: bytes) -> Iterator[bytes]:
    """Split an array by its strings and brackets alone, whatever else its elements hold: NaN, a thousand levels.

    Such an element is rejected later on; its neighbours need not be.

    Raises:
        ValueError: when it is not an array even so.
    """
    position, separator = body.index(b"[") + 1, b","
    while separator == b",":
        start = _match(_SPACE, body, position).end()
        end = _end(body, start)
        yield body[start:end]
        following = _match(_NEXT, body, end)
        position, separator = following.end(), following[1]
    if _match(_SPACE, body, position).end() != len(body):
        raise ValueError("not JSON")


def _end(body: bytes, start: int) -> int:
    """Where the value that starts there ends."""
    if body[start : start + 1] not in {b"[", b"{"}:
        return _match(_PLAIN, body, start).end()
    depth, position = 0, start
    while True:
        found = _match(_BRACKETS, body, position)
        opened, closed = found.groups(b"")
        position = found.end()
        depth += len(opened)
        if len(closed) >= depth:
            return found.start(2) + depth
        depth -= len(closed)


def _match(pattern: re.Pattern[bytes], body: bytes, position: int) -> re.Match[bytes]:
    found = pattern.match(body, position)
    if found is None:
        raise ValueError("not JSON")
    return found
