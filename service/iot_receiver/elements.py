"""Splits a JSON array into its elements' own bytes, whatever they are."""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import msgspec

MANY = 20_000  # commas; msgspec splits all elements, however many, and takes 0.2 µs for each
STEPS = 2_800  # in all that is not JSON of a body: an element, or opening brackets to closing ones; each takes 3 µs
_decode = msgspec.json.Decoder(list[msgspec.Raw]).decode


def is_array(body: bytes) -> bool:
    """Say whether a text begins as a JSON array does."""
    return body[:1] == b"[" or body.lstrip(b" \t\r\n").startswith(b"[")


def budget(steps: int = STEPS) -> Iterator[int]:
    """The steps that several arrays share."""
    return iter(range(steps))


def split(array: bytes, most: int | None = None, steps: Iterator[int] | None = None) -> list[bytes]:
    """The elements of an array, as they are written in it; after `most`, the others may be left out.

    Args:
        steps: a budget, where a body has several arrays.

    Raises:
        ValueError: when they can't be separated.
    """
    if array.count(b",") <= MANY:
        with suppress(ValueError, RecursionError):
            return [bytes(element) for element in _decode(array)]
    return list(islice(_lenient(array, budget() if steps is None else steps, counted=steps is not None), most))


_NOT_JSON = "the body is not JSON"
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_SPACE = re.compile(rb"[ \t\r\n]*+")
_PLAIN = re.compile(_STRING + rb'|[^ \t\r\n"\[\]{},]++', re.DOTALL)
_BETWEEN = rb"(?:" + _STRING + rb'|[^"\[\]{}]++)*+'
_OPENING = re.compile(rb"(?:" + _BETWEEN + rb"[\[{]++)++", re.DOTALL)
_CLOSING = re.compile(_BETWEEN + rb"([\]}]++)", re.DOTALL)
_STRINGS = re.compile(_STRING, re.DOTALL)
_NEXT = re.compile(rb"[ \t\r\n]*+([,\]])")


def _lenient(body: bytes, steps: Iterator[int], *, counted: bool) -> Iterator[bytes]:
    """Split an array by its strings and brackets alone: an element with NaN or a thousand levels spoils no other.

    Raises:
        ValueError: when it is not an array even so.
    """
    position, separator = body.index(b"[") + 1, b","
    while separator == b",":
        if counted and next(steps, None) is None:
            raise ValueError(_NOT_JSON)
        start = _match(_SPACE, body, position).end()
        end = _end(body, start, steps)
        yield body[start:end]
        following = _match(_NEXT, body, end)
        position, separator = following.end(), following[1]
    if _match(_SPACE, body, position).end() != len(body):
        raise ValueError(_NOT_JSON)


def _end(body: bytes, start: int, steps: Iterator[int]) -> int:
    """Where the value that starts there ends."""
    if body[start : start + 1] not in {b"[", b"{"}:
        return _match(_PLAIN, body, start).end()
    depth, position = 0, start
    for _ in steps:
        if opening := _OPENING.match(body, position):
            brackets = _STRINGS.sub(b"", opening[0])
            depth += brackets.count(b"[") + brackets.count(b"{")
            position = opening.end()
        closing = _match(_CLOSING, body, position)
        position = closing.end()
        if len(closing[1]) >= depth:
            return closing.start(1) + depth
        depth -= len(closing[1])
    raise ValueError(_NOT_JSON)


def _match(pattern: re.Pattern[bytes], body: bytes, position: int) -> re.Match[bytes]:
    found = pattern.match(body, position)
    if found is None:
        raise ValueError(_NOT_JSON)
    return found
