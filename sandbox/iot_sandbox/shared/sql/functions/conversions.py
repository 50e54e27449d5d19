"""Types, missing values and encodings."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from decimal import Decimal
from typing import Final

from iot_sandbox.shared.sql.evaluation import Context
from iot_sandbox.shared.sql.functions.registry import function
from iot_sandbox.shared.sql.operators import member
from iot_sandbox.shared.sql.values import UNDEFINED, Value, is_number, loads, to_boolean, to_int, to_number, to_text


@function("isnull", 1, undefined=True)
def isnull(context: Context, value: Value) -> Value:
    return value is None


@function("isundefined", 1, undefined=True)
def isundefined(context: Context, value: Value) -> Value:
    return value is UNDEFINED


@function("get", 2)
def get(context: Context, container: Value, key: Value) -> Value:
    """A member by key or index, or a character of a string; an index may be a Decimal or a string."""
    if isinstance(container, dict):
        return member(container, key)
    index = to_int(to_number(key))
    return container[index] if 0 <= index < len(container) else UNDEFINED


@function("get_or_default", 2, undefined=True)
def get_or_default(context: Context, value: Value, default: Value) -> Value:
    return default if value is UNDEFINED else value


@function("nanvl", 2, undefined=True)
def nanvl(context: Context, value: Value, default: Value) -> Value:
    return default if value is UNDEFINED or value is None else value


CASTS: Final[dict[str, Callable[[Value], Value]]] = {
    **dict.fromkeys(("string", "varchar", "nvarchar", "text", "ntext"), to_text),
    **dict.fromkeys(("bool", "boolean"), lambda value: value != 0 if is_number(value) else to_boolean(value)),
    "int": lambda value: _number(value, whole=True),
    "integer": lambda value: _number(value, whole=True),
    "decimal": lambda value: _number(value, whole=False),
    "double": lambda value: _number(value, whole=False),
    "number": lambda value: _number(value, whole=False),
}
"""What ``cast(value AS type)`` does, by the type's lower-case name."""


def _number(value: Value, whole: bool) -> Value:
    number = int(value) if isinstance(value, bool) else to_number(value)
    if number is UNDEFINED:
        return UNDEFINED
    try:
        return to_int(number) if whole else Decimal(number)
    except OverflowError:
        return UNDEFINED


def octets(value: Value) -> bytes:
    """Input of encodings and digests: binary as it is, everything else as text in UTF-8."""
    if isinstance(value, bytes):
        return value
    text = to_text(value)
    if text is UNDEFINED:
        raise ValueError("null has no text")
    return bytes(text, "utf-8")


@function("encode", 2, raw_payload=True)
def encode(context: Context, value: Value, scheme: Value) -> Value:
    return base64.b64encode(octets(value)).decode() if scheme == "base64" else UNDEFINED


@function("decode", 2)
def decode(context: Context, value: Value, scheme: Value) -> Value:
    """The decoded JSON or text; null for what is no base64, Undefined for what is no text."""
    if scheme != "base64":
        return UNDEFINED
    try:
        decoded = base64.b64decode(octets(value), validate=True)
    except binascii.Error:
        return None
    text = decoded.decode()
    try:
        return loads(decoded)
    except ValueError:
        return text


def _register_digest(name: str) -> None:
    @function(name, 1, raw_payload=True)
    def digest(context: Context, value: Value) -> Value:
        return hashlib.new(name, octets(value), usedforsecurity=False).hexdigest()


for _name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512"):
    _register_digest(_name)


@function("transform", 3)
def transform(context: Context, mode: Value, addition: Value, array: Value) -> Value:
    """``enrichArray``: each object of the array with the addition's members; Undefined for anything else."""
    if mode != "enrichArray" or not isinstance(addition, dict) or not isinstance(array, list):
        return UNDEFINED
    return [{**element, **addition} if isinstance(element, dict) else element for element in array]
