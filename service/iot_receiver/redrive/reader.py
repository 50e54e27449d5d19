"""Reads dead letters: those of IoT Core's error action, of one message or of a batch, and the receiver's own.

AWS IoT developer guide, "Error handling (error action)" and "Batching HTTP action messages".
"""

from base64 import b64decode
from binascii import Error as Base64Error

import msgspec

from iot_receiver import times
from iot_receiver.measurements import ABSENT
from iot_receiver.messages import Envelope, MessageParser, Rejection, Source
from iot_receiver.queues import QueuedMessage
from iot_receiver.rows import Row

_FOREIGN = "neither a dead letter of an IoT rule nor one of the receiver"
_LONGEST_TRACE_ID = 128  # characters; it becomes part of a key

Results = list[Row | Rejection]


class _Publication(msgspec.Struct, rename="camel"):
    """A message as its device published it, by the rule's error action."""

    base64_original_payload: str | None = None
    cloudwatch_trace_id: str | None = None
    client_id: str | None = None


class _DeadLetter(_Publication, rename="camel"):
    """A dead letter of either kind; iot_receiver.dead_letters describes the receiver's own members."""

    payloads_with_metadata: list[_Publication] | None = None
    base64_message: str | None = None
    received_at: str | None = None
    envelope: bool = False
    trace_id: str | None = None
    iot_received_at: msgspec.Raw = ABSENT
    place: int | None = None


_decode = msgspec.json.Decoder(_DeadLetter).decode


class Reader:
    """Makes rows of dead letters, each time the same of the same dead letter."""

    def __init__(self, parser: MessageParser) -> None:
        self._parser = parser

    def read(self, queued: QueuedMessage) -> Results:
        """Make a row, or a rejection, of each reading in a dead letter; there is at least one of either."""
        try:
            content = _decode(_json(queued.body))
            results = self._results(content, queued)
        except (ValueError, RecursionError):
            return [_rejection(_FOREIGN, queued.body)]
        except Exception as error:  # noqa: BLE001 - whatever is in it, it must not stop the others
            return [_rejection(f"the dead letter can't be read: {type(error).__name__}", queued.body)]
        return results or [_rejection("the dead letter holds no message", queued.body)]

    def _results(self, content: _DeadLetter, queued: QueuedMessage) -> Results:
        """Read a dead letter's messages.

        Raises:
            ValueError: when it is no dead letter.
        """
        if content.base64_message is not None:
            message = _bytes(content.base64_message)
            envelope = None
            if content.envelope:
                envelope = Envelope(message, content.iot_received_at, content.trace_id, content.client_id)
            source = Source(message, place=content.place, envelope=envelope)
            received_ms = _milliseconds(content.received_at) or queued.sent_ms
            return self._parser.redriven_source(source, received_ms, queued.id)
        publications = content.payloads_with_metadata
        if publications is None:
            if content.base64_original_payload is None:
                raise ValueError(_FOREIGN)
            publications = [content]
        return [
            result
            for place, publication in enumerate(publications)
            for result in self._published(publication, queued, place, publication.client_id or content.client_id)
        ]

    def _published(
        self, publication: _Publication, queued: QueuedMessage, place: int, client_id: str | None
    ) -> Results:
        try:
            payload = _bytes(publication.base64_original_payload or "")
        except ValueError:
            return [_rejection("the original payload is not base64", publication.base64_original_payload or "")]
        trace_id = publication.cloudwatch_trace_id
        if not trace_id or len(trace_id) > _LONGEST_TRACE_ID:
            trace_id = f"{queued.id}-{place}"
        return self._parser.redriven(payload, queued.sent_ms, trace_id, client_id)


def _json(body: str) -> str | bytes:
    """The dead letter's JSON; an error action may be set to send base64 (`useBase64`)."""
    return body if body.lstrip().startswith("{") else _bytes(body.strip())


def _bytes(text: str) -> bytes:
    """Decode base64.

    Raises:
        ValueError: when it is none.
    """
    try:
        return b64decode(text, validate=True)
    except Base64Error as error:
        raise ValueError(str(error)) from None


def _milliseconds(text: str | None) -> int | None:
    try:
        return times.ms_from_iso(times.from_text(text).iso) if text else None
    except ValueError:
        return None


def _rejection(reason: str, text: str) -> Rejection:
    return Rejection(reason, Source(text.encode(errors="replace")))
