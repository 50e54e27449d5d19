"""Counts what may change load balancers, DNS records, rules or devices: GET /sandbox/changes.

Whoever follows one of these asks for the count, which costs far less than reading all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

SERVICES = {"elasticloadbalancing", "iot", "route53"}
READING = ("Describe", "Get", "List", "Search")

_numbers = count(1)
_last = [0]


def note() -> None:
    """Something changed, or may have changed."""
    _last[0] = next(_numbers)  # in one step, whichever thread it is


def note_calls(actions: Iterable[str]) -> None:
    """A request was answered that carried out these actions (`iot:CreateThing`)."""
    for action in actions:
        service, _, operation = action.partition(":")
        if service in SERVICES and not operation.startswith(READING):
            note()


def number() -> int:
    """How much has changed so far."""
    return _last[0]
