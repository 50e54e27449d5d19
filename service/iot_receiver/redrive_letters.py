"""Reads dead letters: those of IoT Core's error action, of one message or of a batch, and the receiver's own.

AWS IoT developer guide, "Error handling (error action)" and "Batching HTTP action messages".
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from dataclasses import replace

import msgspec

from iot_receiver import times
from iot_receiver.messages import Delivery, MessageParser, Rejection, Row, is_array

_NO_LETTER = "neither a dead letter of an IoT rule nor one of the receiver"


class _Publication(msgspec.Struct, rename="camel"):
    """A message as its device published it."""

    base64_original_payload: str | None = None
    cloudwatch_trace_id: str | None = None
    client_id: str | None = None


class _Letter(_Publication, rename="camel"):
    payloads_with_metadata: list[_Publication] | None = None
    base64_message: str | None = None
    received_at: str | None = None


_decode = msgspec.json.Decoder(_Letter).decode


class Letters:
    """Makes rows of dead letters, each time the same of the same letter."""

    def __init__(self, parser: MessageParser, *, arrays_published: bool) -> None:
        """Take the deployment's parser, and whether its rule passes on arrays that a device publishes."""
        self._parser = parser
        self._arrays_published = arrays_published

    def read(self, body: str, letter_id: str, sent_ms: int) -> list[Row | Rejection]:
        """Make a row, or a rejection, of each message in a letter; there is at least one of either.

        Args:
            letter_id: SQS's id of the letter.
            sent_ms: when it was put on the queue, in milliseconds since 1970.
        """
        try:
            letter = _decode(_json(body))
            return list(self._messages(letter, letter_id, sent_ms)) or [_rejection("the letter holds no message", body)]
        except (ValueError, RecursionError):
            return [_rejection(_NO_LETTER, body)]

    def _messages(self, letter: _Letter, letter_id: str, sent_ms: int) -> Iterator[Row | Rejection]:
        """Read a letter's messages.

        Raises:
            ValueError: when it is no dead letter.
        """
        if letter.base64_message is not None:
            received_ms = _milliseconds(letter.received_at) or sent_ms
            yield self._parser.redriven(_bytes(letter.base64_message), Delivery(received_ms, letter_id))
            return
        publications = letter.payloads_with_metadata
        if publications is None:
            if letter.base64_original_payload is None:
                raise ValueError(_NO_LETTER)
            publications = [letter]
        for place, publication in enumerate(publications):
            trace_id = publication.cloudwatch_trace_id or f"{letter_id}-{place}"
            client_id = publication.client_id or letter.client_id
            yield from self._published(publication, Delivery(sent_ms, trace_id, client_id, published=True))

    def _published(self, publication: _Publication, delivery: Delivery) -> Iterator[Row | Rejection]:
        try:
            payload = _bytes(publication.base64_original_payload or "")
        except ValueError:
            yield _rejection("the original payload is not base64", publication.base64_original_payload or "")
            return
        if not (self._arrays_published and is_array(payload)):
            yield self._parser.redriven(payload, delivery)
            return
        try:
            elements = self._parser.split(payload)
        except ValueError as error:
            yield Rejection(str(error), payload)
            return
        for place, element in enumerate(elements):
            trace_id = f"{delivery.trace_id}-{place}"
            yield self._parser.redriven(element, replace(delivery, trace_id=trace_id))


def _json(body: str) -> str | bytes:
    """The letter's JSON; an error action may have been told to send base64 (`useBase64`)."""
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
    return Rejection(reason, text.encode(errors="replace"))
