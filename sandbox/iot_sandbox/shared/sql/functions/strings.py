"""Text; arguments that are no strings are written as strings, as AWS does."""

from __future__ import annotations

import re
from collections.abc import Callable

from iot_sandbox.shared.sql.evaluation import Context
from iot_sandbox.shared.sql.functions.registry import function
from iot_sandbox.shared.sql.values import UNDEFINED, Value, is_number, to_int, to_text


def _textual(name: str, count: int, work: Callable[..., Value]) -> None:
    @function(name, count)
    def run(context: Context, *arguments: Value) -> Value:
        return work(*map(to_text, arguments))


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


@function("concat", 1, 20)
def concat(context: Context, *values: Value) -> Value:
    """One array if an argument is one, otherwise one string."""
    if any(isinstance(value, list) for value in values):
        parts = (value if isinstance(value, list) else [value] for value in values)
        return [item for part in parts for item in part]
    return "".join(map(to_text, values))


@function("chr", 1)
def chr_(context: Context, value: Value) -> Value:
    """The character of a number; half a surrogate pair is none."""
    if not is_number(value):
        return UNDEFINED
    character = chr(to_int(value))
    return UNDEFINED if "\ud800" <= character <= "\udfff" else character


def _padding(name: str, left: bool) -> None:
    @function(name, 2)
    def pad(context: Context, value: Value, count: Value) -> Value:
        if not is_number(count):
            return UNDEFINED
        spaces = " " * min(max(to_int(count), 0), 1000)
        return spaces + to_text(value) if left else to_text(value) + spaces


_padding("lpad", left=True)
_padding("rpad", left=False)


@function("substring", 2, 3)
def substring(context: Context, value: Value, start: Value, end: Value = None) -> Value:
    """From a position counted from 0, up to (not including) another."""
    text = to_text(value)
    if not is_number(start) or not (end is None or is_number(end)):
        return UNDEFINED
    return text[max(to_int(start), 0) : None if end is None else max(to_int(end), 0)]
