"""Counts the calls that may change load balancers, DNS records, rules or devices: GET /sandbox/changes.

A program that follows one of these asks for the count, which costs far less than reading the account.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

SERVICES = {"cloudformation", "elasticloadbalancing", "iot", "route53"}
READING = ("Describe", "Get", "List", "Search")

_numbers = count(1)
_last = [0]


def note() -> None:
    """Count a change that happened or may have happened."""
    _last[0] = next(_numbers)  # in one step, whichever thread it is


def note_calls(actions: Iterable[str]) -> None:
    """Count a request that carried out these actions (`iot:CreateThing`) and may have changed something."""
    for action in actions:
        service, _, operation = action.partition(":")
        if service in SERVICES and not operation.startswith(READING):
            note()


def number() -> int:
    """The number of changes so far."""
    return _last[0]
