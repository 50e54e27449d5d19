"""From the body of a request, or a dead letter, to rows: what each reading says, keyed by what it says itself.

The rule forwards each message in an envelope: the payload as its device published it, in base64, with what only IoT
Core has. A payload is one reading or an array of them. Two other forms are read as well, so that receiver, rule and
dead letters of different ages meet without loss: the former one, in which the rule named a reading's members and added
its own to them, and the plain reading of `SELECT *`.
"""

import json
import re
import secrets
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from iot_receiver import numbers, times
from iot_receiver.elements import budget, is_array, split
from iot_receiver.measurements import ABSENT, Identifier, Reading, RuleReading, Schema
from iot_receiver.rows import Row
from iot_receiver.settings import StoreSettings

MAX_MESSAGES = 1_000  # in a body (IoT Core batches at most 10), and readings in a payload
_LONGEST_NUMBER = 512  # characters of a time
_LONGEST_ARRIVAL = 15  # digits
_HTTPS_PUBLISH = "n/a"  # clientid() of a message that was published over HTTPS: nobody's name
_PART = 50  # readings, read without a pause
MAX_READINGS = 10_000  # in a body: ten payloads of a thousand
_FEW_STEPS = 50  # for a payload without a reading in it
_NAMES = 4  # of a message's members in a reason
_LONGEST_NAME = 24
_LONGEST_REASON = 199
_LONGEST_NAMED = 131_072  # bytes of a message whose members are named: all have to be read for it

_encode = msgspec.json.Encoder().encode


class Envelope(msgspec.Struct, gc=False):
    """A payload as it was published, and what IoT Core says of it.

    Attributes:
        device_id: present only in a reading that happens to have a member `iot_payload`.
    """

    iot_payload: bytes
    iot_received_at: msgspec.Raw = ABSENT
    iot_trace_id: Identifier | None = None
    iot_client_id: str | None = None
    device_id: msgspec.Raw = msgspec.field(default=ABSENT, name="deviceId")


class _Origin(msgspec.Struct, gc=False):
    """What IoT Core says of a message, whatever else is wrong with it."""

    iot_received_at: msgspec.Raw = ABSENT
    iot_trace_id: str | None = None
    iot_client_id: str | None = None


class Source(NamedTuple):
    """One message's own bytes, and where they come from.

    Attributes:
        message: a reading, or whatever was sent instead.
        element: its place in the body, when that is an array; else 0.
        place: its place in the payload, when that is an array.
        envelope: the envelope it came in; None for the forms without one.
        fault: why it is no reading, when that is clear already.
    """

    message: bytes
    element: int = 0
    place: int | None = None
    envelope: Envelope | None = None
    fault: str | None = None


@dataclass(slots=True, eq=False)
class Rejection:
    """A message that is no reading, why, and who published it, as far as IoT Core says."""

    reason: str
    source: Source
    client_id: str | None = None

    @property
    def message(self) -> bytes:
        """The message's own bytes."""
        return self.source.message


class BodyError(ValueError):
    """The body as a whole is no message and no array of messages."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class MessageParser:
    """Reads bodies for one deployment's measurements, table schema and rule."""

    def __init__(self, settings: StoreSettings) -> None:
        self._trusts_rule = settings.rule_adds_metadata
        self._schema = Schema(settings.measurements)
        reading = self._schema.struct(Reading)
        self._reading = msgspec.json.Decoder(reading)
        self._readings = msgspec.json.Decoder(list[reading])  # type: ignore[valid-type]  # mypy can't see a class made here
        self._named = msgspec.json.Decoder(self._schema.struct(RuleReading))
        self._envelope = msgspec.json.Decoder(Envelope)
        self._envelopes = msgspec.json.Decoder(list[Envelope])
        self._check_client = settings.rule_adds_metadata and settings.device_id_check == "client_id"
        self._by_receipt = settings.table_schema == "receipt_time"
        self._retention = settings.retention_days * 86_400
        self._clock = times.Clock(settings.clock_ahead, settings.clock_behind)

    def parse(self, body: bytes) -> list[Row | Rejection]:
        """Make a row, or a rejection, of each reading of the body.

        Raises:
            BodyError: when nothing in it could be answered one by one.
        """
        return _all(self.parts(body))

    def parts(self, body: bytes) -> Iterator[list[Row | Rejection]]:
        """The same, a few at a time.

        Raises:
            BodyError: as above.
        """
        receipt = self._clock.receipt()
        try:
            yield self._well_formed(body, receipt)
        except (ValueError, RecursionError):
            yield from self._results(self._sources(body), receipt)

    def rejection(self, body: bytes, number: int, reason: str) -> Rejection:
        """Reject what `parse` made result `number` of."""
        source = list(self._sources(body))[number]
        return Rejection(reason, source, _client(source))

    def redriven(self, payload: bytes, received_ms: int, trace_id: str, client_id: str | None) -> list[Row | Rejection]:
        """Make rows of a payload that the rule's error action kept: each time the same, but for `receipt_time`.

        Args:
            received_ms: when the rule gave it up, in milliseconds since 1970.
            trace_id: IoT Core's id of it, or another that stays the same however often it is read.
            client_id: its publisher.
        """
        envelope = Envelope(payload, msgspec.Raw(b"%d" % received_ms), trace_id, client_id)
        sources = list(self._published(envelope, 0))
        if self._check_client and client_id is None:
            fault = "the dead letter does not say which client published it"
            sources = [source._replace(fault=fault) for source in sources]
        return _all(self._results(sources, self._clock.receipt_at(received_ms)))

    def redriven_source(self, source: Source, received_ms: int, fallback_trace_id: str) -> list[Row | Rejection]:
        """Make rows of what the receiver itself put on its queue, whichever form it had.

        Args:
            received_ms: when the receiver received it, in milliseconds since 1970.
            fallback_trace_id: stands for IoT Core's where there is none.
        """
        sources: Iterator[Source] = iter([source])
        if source.envelope is None:
            sources = self._forwarded(source.message, source.element)
        elif source.place is None:
            sources = self._published(source.envelope, source.element)
        return _all(self._results(sources, self._clock.receipt_at(received_ms), fallback_trace_id))

    def _well_formed(self, body: bytes, receipt: times.Receipt) -> list[Row | Rejection]:
        """The form that the rule sends, with one reading a payload, as nearly all bodies are: as fast as can be.

        Raises:
            ValueError, RecursionError: when any of it is something else.
        """
        decode = self._reading.decode
        array = is_array(body)
        if not self._trusts_rule:
            if not array:
                return [self._row(decode(body), _NO_ORIGIN, receipt)]
            readings = self._readings.decode(body)
            if not 0 < len(readings) <= MAX_MESSAGES:
                raise ValueError
            return [self._row(reading, _NO_ORIGIN, receipt) for reading in readings]
        if not array:
            envelope = self._envelope.decode(body)
            return [self._row(decode(envelope.iot_payload), envelope, receipt)]
        envelopes = self._envelopes.decode(body)
        if not 0 < len(envelopes) <= MAX_MESSAGES:
            raise ValueError
        return [self._row(decode(envelope.iot_payload), envelope, receipt) for envelope in envelopes]

    def _sources(self, body: bytes) -> Iterator[Source]:
        """The messages of a body, one by one.

        Raises:
            BodyError: when they can't be separated.
        """
        elements, steps = [body], budget()
        if is_array(body):
            try:
                elements = split(body, MAX_MESSAGES + 1, steps)
            except ValueError as error:
                raise BodyError(422, str(error)) from None
            if not elements:
                raise BodyError(422, "the array is empty")
            if len(elements) > MAX_MESSAGES:
                raise BodyError(413, f"the array has more than {MAX_MESSAGES} messages")
        for index, element in enumerate(elements):
            yield from self._forwarded(element, index, steps)

    def _forwarded(self, message: bytes, index: int, steps: Iterator[int] | None = None) -> Iterator[Source]:
        """The readings of one message as the rule forwarded it, in any of the three forms."""
        envelope: Envelope | None = None
        with suppress(ValueError, RecursionError):
            envelope = self._envelope.decode(message)
        if not self._trusts_rule:
            if is_array(message):  # a payload that is an array, forwarded by SELECT * in a batch
                envelope = Envelope(message)
            elif envelope is not None:  # the device may have written it: only its payload is believed
                envelope = Envelope(envelope.iot_payload) if bytes(envelope.device_id) == b"null" else None
        if envelope is None:
            yield Source(message, index)
        else:
            yield from self._published(envelope, index, steps)

    def _published(self, envelope: Envelope, index: int, steps: Iterator[int] | None = None) -> Iterator[Source]:
        """The readings of one payload; one without any stays whole."""
        payload = envelope.iot_payload
        whole = Source(payload, index, None, envelope)
        if not is_array(payload):
            yield whole
            return
        if b"{" not in payload:
            steps = budget(_FEW_STEPS)
        try:
            elements = split(payload, MAX_MESSAGES + 1, steps)
        except ValueError:
            yield whole._replace(fault="the payload is not JSON")
            return
        if len(elements) > MAX_MESSAGES:
            yield whole._replace(fault=f"the payload has more than {MAX_MESSAGES} readings")
        elif not any(element[:1] == b"{" for element in elements):
            yield whole._replace(fault="the payload is an array without a reading in it")
        else:
            for place, element in enumerate(elements):
                yield Source(element, index, place, envelope)

    def _results(
        self, sources: Iterable[Source], receipt: times.Receipt, fallback_trace_id: str | None = None
    ) -> Iterator[list[Row | Rejection]]:
        """Read messages, a few at a time.

        Raises:
            BodyError: when there are too many.
        """
        results: list[Row | Rejection] = []
        element = 0
        keys: dict[tuple[int, str, str], Row] = {}
        for number, source in enumerate(sources):
            if number == MAX_READINGS:
                raise BodyError(413, f"the body has more than {MAX_READINGS} readings")
            if len(results) == _PART or source.element != element:  # a payload without a reading takes its time, too
                yield results
                results, element = [], source.element
            try:
                row = self._read(source, receipt, fallback_trace_id)
            except (ValueError, RecursionError) as error:
                results.append(Rejection(_reason(error, source.message)[:_LONGEST_REASON], source, _client(source)))
                continue
            if source.place is not None:
                # Different readings of one payload with one id and instant: their place in it makes the keys differ.
                first = keys.setdefault((source.element, row.device_id, row.time), row)
                if first.values != row.values:
                    row.time += f"-{source.place}"
            results.append(row)
        yield results

    def _read(self, source: Source, receipt: times.Receipt, fallback_trace_id: str | None) -> Row:
        """Make one row.

        Raises:
            ValueError, RecursionError: with the reason, when the message is no reading.
        """
        if source.fault is not None:
            raise ValueError(source.fault)
        if source.envelope is None and self._trusts_rule:
            named = self._named.decode(source.message)
            rule = _Origin(named.iot_received_at, named.iot_trace_id or fallback_trace_id, named.iot_client_id)
            return self._row(named, rule, receipt)
        origin: Envelope | _Origin = source.envelope or _NO_ORIGIN
        if fallback_trace_id and not origin.iot_trace_id:
            origin = _Origin(origin.iot_received_at, fallback_trace_id, origin.iot_client_id)
        return self._row(self._reading.decode(source.message), origin, receipt, source.place)

    def _row(
        self, reading: Reading, origin: Envelope | _Origin, receipt: times.Receipt, place: int | None = None
    ) -> Row:
        device = reading.device_id
        values = self._schema.values(reading)
        # The rule always adds it: where it is missing, or null, whoever has the secret wrote the body by hand.
        client = origin.iot_client_id
        if self._check_client and client is not None and (client != device or client == _HTTPS_PUBLISH):
            raise ValueError("deviceId is not the client id of its publisher")
        ts, finer = bytes(reading.ts), ""
        sent = times.as_key(ts)
        if sent is None and (instant := _instant("ts", ts, times.from_number)) is not None:
            sent, finer = instant
        arrival = _arrival(bytes(origin.iot_received_at)) or times.arrival(times.ms_from_iso(receipt.iso))
        trace = origin.iot_trace_id
        if trace is not None and place is not None:
            trace = f"{trace}-{place}"
        skew = None
        if sent is not None:
            moment = sent
            identity = reading.message_id or self._digest(device, values, times.Instant(sent, finer))
            if not receipt.earliest <= moment <= receipt.latest:
                skew = times.ms_from_iso(moment) - times.ms_from_iso(arrival.iso)
        else:
            arrived = _instant("iot_received_at", bytes(origin.iot_received_at), times.from_epoch)
            moment = receipt.iso if arrived is None else arrived.iso
            identity = reading.message_id or trace or ""
            if not identity:
                identity = secrets.token_hex(16) if arrived is None else self._digest(device, values, arrived, place)
        return Row(
            device,
            self._clock.unique() if self._by_receipt else f"{moment}#{identity}",
            values,
            arrival.iso,
            skew,
            trace if sent is None or self._by_receipt else None,
            arrival.epoch + self._retention if self._retention else None,
            sent is not None and not (self._by_receipt or arrival.fresh_from <= sent < arrival.fresh_before),
        )

    def _digest(
        self, device: str, values: Sequence[str | bool | None], instant: times.Instant, place: int | None = None
    ) -> str:
        """The id of a message without one: the same for the same reading, however its members are written."""
        said = (device, self._schema.canonical(values), instant.iso, instant.finer)
        return blake2b(_encode(said if place is None else (*said, place)), digest_size=16).hexdigest()


def _all(parts: Iterator[list[Row | Rejection]]) -> list[Row | Rejection]:
    return [result for part in parts for result in part]


_NO_ORIGIN = _Origin()
_origin = msgspec.json.Decoder(_Origin).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_MISSING = re.compile(r"(?:Object missing required field `(\w+)`|(.+) (?:is|are) missing)")


def _client(source: Source) -> str | None:
    """Who published a message, by IoT Core."""
    if source.envelope is not None:
        return source.envelope.iot_client_id
    try:
        return _origin(source.message).iot_client_id
    except (ValueError, RecursionError):
        return None


@lru_cache(maxsize=4_096)  # under load, many messages share a millisecond
def _arrival(raw: bytes) -> times.Arrival | None:
    """When the rule received a message; None where it does not say.

    Its tries of one message share it, so that they write the same row to the byte.
    """
    try:
        return times.arrival(int(raw)) if raw.isdigit() and len(raw) <= _LONGEST_ARRIVAL else None
    except OverflowError:
        return None


def _instant(member: str, raw: bytes, from_number: times.FromNumber) -> times.Instant | None:
    """Read a member that is RFC 3339 text, a number, or absent."""
    if raw == b"null":
        return None
    try:
        if raw[:1] == b'"':
            return times.from_text(raw[1:-1].decode() if b"\\" not in raw else msgspec.json.decode(raw, type=str))
        if raw[:1] in b"-0123456789" and len(raw) <= _LONGEST_NUMBER:
            return from_number(numbers.exact(raw.decode()))
    except UnicodeDecodeError:
        raise
    except ValueError as error:
        raise ValueError(f"{member} {error}") from None
    raise ValueError(f"{member} is neither an RFC 3339 time nor milliseconds since 1970")


def _reason(error: Exception, message: bytes) -> str:
    """Why a message is no reading, in words that help whoever sent it."""
    if isinstance(error, UnicodeDecodeError):
        return "the message is not UTF-8"
    text = str(error)
    if found := _MISSING.fullmatch(text):
        return (f"{found[1]} is missing" if found[1] else text) + _what_is_there(message)
    if isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError):
        if not message.strip():
            return f"the message is empty ({text})"
        if why := _why_malformed(message):
            return f"{text}: {why}"
        with suppress(ValueError, RecursionError):
            json.loads(message)  # takes half of a surrogate pair, which msgspec reports as truncated
            return "JSON is malformed: a text has half of a surrogate pair"
    return text


def _why_malformed(message: bytes) -> str:
    """Name a usual cause of malformed JSON; empty when it is none of them."""
    if message.startswith(BOM_UTF8):
        return "the message begins with a byte order mark"
    try:
        text = message.decode()
    except UnicodeDecodeError:
        return "the message is not UTF-8"
    for word in ("NaN", "Infinity"):
        if word in text:
            return f"{word} is no JSON number"
    return ""


def _what_is_there(message: bytes) -> str:
    """Name the members that nobody asked for: one of them may be the missing one by another name."""
    if len(message) > _LONGEST_NAMED:
        return ""
    try:
        names = [name for name in _members(message) if name not in _ASKED and not name.startswith("iot_")]
    except (ValueError, RecursionError):
        return ""
    if not names:
        return ""
    shown = [name if name.isascii() and name.isprintable() else ascii(name) for name in names[:_NAMES]]
    shown = [name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…" for name in shown]
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return f"; the message has {', '.join(shown)}{more}"


_ASKED = frozenset({"deviceId", "ts", "messageId"})
