"""Text; arguments that are no strings are written as strings, as AWS does. Null has no text: Undefined."""

from __future__ import annotations

import re
from collections.abc import Callable

from iot_sandbox.shared.sql.evaluation import Context
from iot_sandbox.shared.sql.functions.registry import function
from iot_sandbox.shared.sql.values import UNDEFINED, Value, clamped, to_int, to_number, to_text

ASCII = range(128)
LONGEST_PADDING = 1000
"""AWS names no bound; without one a message could take all memory."""


def _textual(name: str, count: int, work: Callable[..., Value]) -> None:
    @function(name, count)
    def run(context: Context, *arguments: Value) -> Value:
        texts = [to_text(argument) for argument in arguments]
        return UNDEFINED if UNDEFINED in texts else work(*texts)


def _first(pattern: str, text: str) -> Value:
    found = re.search(pattern, text)
    return found[0] if found else UNDEFINED


_textual("lower", 1, str.lower)
_textual("upper", 1, str.upper)
_textual("length", 1, len)
_textual("numbytes", 1, lambda text: len(text.encode()))
_textual("ltrim", 1, str.lstrip)
_textual("rtrim", 1, str.rstrip)
_textual("trim", 1, str.strip)
_textual("startswith", 2, str.startswith)
_textual("endswith", 2, str.endswith)
_textual("indexof", 2, str.find)
_textual("replace", 3, str.replace)
_textual("regexp_matches", 2, lambda text, pattern: re.search(pattern, text) is not None)
_textual("regexp_replace", 3, lambda text, pattern, new: re.sub(pattern, _java_groups(new), text))
_textual("regexp_substr", 2, lambda text, pattern: _first(pattern, text))


def _java_groups(replacement: str) -> str:
    """Java names a group $1 where Python says \\1."""
    return re.sub(r"\$(\d)", r"\\\1", replacement)


@function("concat", 0, None)
def concat(context: Context, *values: Value) -> Value:
    """One array if an argument is one, otherwise one string; Undefined without arguments."""
    if not values:
        return UNDEFINED
    if any(isinstance(value, list) for value in values):
        parts = (value if isinstance(value, list) else [value] for value in values)
        return [item for part in parts for item in part]
    texts = [to_text(value) for value in values]
    return UNDEFINED if UNDEFINED in texts else "".join(texts)


@function("chr", 1)
def chr_(context: Context, value: Value) -> Value:
    """The ASCII character of a number."""
    code = to_int(to_number(value))
    return chr(code) if code in ASCII else UNDEFINED


def _padding(name: str, left: bool) -> None:
    @function(name, 2)
    def pad(context: Context, value: Value, count: Value) -> Value:
        text, width = to_text(value), clamped(count, LONGEST_PADDING)
        if text is UNDEFINED or width is UNDEFINED:
            return UNDEFINED
        return " " * width + text if left else text + " " * width


_padding("lpad", left=True)
_padding("rpad", left=False)


@function("substring", 2, 3)
def substring(context: Context, value: Value, *bounds: Value) -> Value:
    """From a position counted from 0, up to (not including) another."""
    text = to_text(value)
    if text is UNDEFINED:
        return UNDEFINED
    positions = [clamped(bound, len(text)) for bound in bounds]
    return UNDEFINED if UNDEFINED in positions else text[slice(*positions)] if positions[1:] else text[positions[0] :]
