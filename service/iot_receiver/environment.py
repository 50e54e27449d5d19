"""Reads settings from the environment and gathers what is wrong with them."""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import TypeVar, cast

T = TypeVar("T")

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


class SettingsError(ValueError):
    """Every fault of the environment at once, one a line."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Reader:
    """Reads one variable after another and gathers the faults."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.faults: list[str] = []

    def __call__(self, name: str, parse: Callable[[str], T], default: str | None = None) -> T:
        text = self._environment.get(name, "").strip()
        if not text:
            if default is None:
                self.faults.append(f"{name} is not set")
                return cast(T, None)  # never seen: the faults are raised before the settings are used
            text = default
        try:
            return parse(text)
        except ValueError as error:
            self.faults.append(f"{name} is {text!r}: expected {error}")
            return cast(T, None)


def matching(pattern: str, expected: str) -> Callable[[str], str]:
    """Text of a pattern, which `expected` describes."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(expected)
        return text

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """One of the choices."""

    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(" or ".join(choices))
        return text

    return parse


def boolean(text: str) -> bool:
    """true or false."""
    if text.lower() not in _TRUE | _FALSE:
        raise ValueError("true or false")
    return text.lower() in _TRUE


def whole(lowest: int, highest: int) -> Callable[[str], int]:
    """A whole number of a range."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not lowest <= int(text) <= highest:
            raise ValueError(f"a whole number from {lowest} to {highest}")
        return int(text)

    return parse


def seconds(lowest: float, highest: float) -> Callable[[str], float]:
    """Seconds of a range."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not lowest <= float(text) <= highest:
            raise ValueError(f"seconds from {lowest} to {highest}")
        return float(text)

    return parse


def address(text: str) -> str:
    """An IP address."""
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("an IP address") from None


REGION = matching(r"[a-z]{2,4}(-[a-z]+)+-\d", "a region such as us-east-2")
TABLE_NAME = matching(r"[A-Za-z0-9_.-]{3,255}", "3 to 255 letters, digits, '_', '.' or '-'")


def check_proxy(read: Reader) -> None:
    """Note a proxy as a fault that connections to DynamoDB can't go through."""
    for name in ("https_proxy", "HTTPS_PROXY"):
        proxy = read(name, str, "")
        if proxy and not re.fullmatch(r"http://([^@/\s]+@)?[^@/\s]+/?", proxy):  # not shown: it may hold a password
            read.faults.append(
                f"{name} can't be used: expected http://host:port (a proxy that opens tunnels by CONNECT)"
            )
