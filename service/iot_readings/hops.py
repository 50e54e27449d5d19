"""How each hop of a reading's way is, as far as it can be seen from here with leave only to Query and to list things.

The receiver says by /metrics what it has stored and which dead letters wait; by /rejections what became no row.
"""

import asyncio
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from iot_readings.fleet import Fleet
from iot_readings.registry import Registry
from iot_readings.table import Table

POLL_SECONDS = 5.0
LARGEST = 1_000_000  # bytes of /metrics
MOST_REJECTIONS = 50
_SAMPLE = re.compile(r"iot_receiver_(ready|messages_total|dead_letters)(?:\{(?:outcome|queue)=\"(\w+)\"\})? (\S+)")


class Rejection(msgspec.Struct, frozen=True, rename="camel"):
    """A message that was no reading: when it came, by which MQTT client, and why it was rejected."""

    received_at: str
    client_id: str | None
    reason: str


class _Rejections(msgspec.Struct):
    rejections: list[Rejection]


_decode = msgspec.json.Decoder(_Rejections).decode


@dataclass(slots=True)
class Receiver:
    """One receiver's numbers.

    Attributes:
        failing: why it could not be asked; empty when it answered, None before the first answer.
        ready: it wants requests.
        messages: by outcome, since its start.
        dead_letters: that wait, by queue.
        rates: messages a second between the last two answers, by outcome.
        rejections: the last messages that were no readings, newest first.
    """

    failing: str | None = None
    ready: bool = False
    messages: dict[str, float] = field(default_factory=dict)
    dead_letters: dict[str, int] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    _answered_at: float = 0.0

    async def follow(self, url: str) -> None:
        """Ask for ever; `url` is that of /metrics."""
        # Each receiver has its own rejections: a new connection each time reaches one after another.
        connector = TCPConnector(force_close=True)
        async with (
            ClientSession(timeout=ClientTimeout(total=3)) as session,
            ClientSession(timeout=ClientTimeout(total=3), connector=connector) as anyone,
        ):
            while True:
                with suppress(ClientError, OSError, ValueError, RecursionError):  # what is wrong, /metrics shows
                    async with anyone.get(url.removesuffix("/metrics") + "/rejections") as response:
                        if response.status == 200:  # an older receiver has none
                            self.add(_decode(await response.content.read(LARGEST)).rejections)
                try:
                    async with session.get(url, headers={"Accept": "text/plain"}) as response:
                        response.raise_for_status()
                        self._take((await response.content.read(LARGEST)).decode())
                except (ClientError, OSError, ValueError) as error:
                    self.failing, self.ready, self.rates = type(error).__name__, False, {}
                await asyncio.sleep(POLL_SECONDS)

    def add(self, found: Iterable[Rejection]) -> None:
        """Take in what one receiver rejected."""
        self.rejections = sorted({*self.rejections, *found}, key=lambda each: each.received_at, reverse=True)
        del self.rejections[MOST_REJECTIONS:]

    def _take(self, text: str) -> None:
        messages: dict[str, float] = {}
        dead_letters: dict[str, int] = {}
        for line in text.splitlines():
            match = _SAMPLE.fullmatch(line)
            if match is None:
                continue
            name, label, value = match[1], match[2] or "", float(match[3])
            if name == "ready":
                self.ready = value == 1
            elif name == "messages_total":
                messages[label] = value
            else:
                dead_letters[label] = int(value)
        passed, self._answered_at = monotonic() - self._answered_at, monotonic()
        before, self.messages, self.dead_letters, self.failing = self.messages, messages, dead_letters, ""
        # A receiver that was restarted, or another one, counts from less.
        self.rates = {
            outcome: max(0.0, count - before[outcome]) / passed
            for outcome, count in messages.items()
            if outcome in before
        }


def health(fleet: Fleet, registry: Registry, receiver: Receiver | None, table: Table) -> dict[str, Any]:
    """The hops in the order of a reading's way; each is ok, warning, failed or unknown."""
    return {
        "hops": [
            {"name": "devices", **_devices(fleet)},
            {"name": "registry", **_registry(registry, fleet)},
            {"name": "receiver", **_receiver(receiver)},
            {"name": "table", **_table(table)},
            {"name": "dead letters", **_dead_letters(receiver)},
        ],
        "deadLetters": receiver.dead_letters if receiver else None,
        "rejections": receiver.rejections if receiver else [],
    }


def _hop(state: str, detail: str) -> dict[str, str]:
    return {"state": state, "detail": detail}


def _devices(fleet: Fleet) -> dict[str, str]:
    states = fleet.states()
    detail = ", ".join(f"{count} {state}" for state, count in states.items() if count) or "none registered"
    if not states["quiet"]:
        return _hop("ok" if states["live"] else "unknown", detail)
    return _hop("warning" if states["live"] else "failed", detail)


def _registry(registry: Registry, fleet: Fleet) -> dict[str, str]:
    if registry.failing:
        return _hop("failed", registry.failing)
    if not registry.complete:
        return _hop("unknown", f"being read, {len(fleet.names)} so far")
    return _hop("ok", f"{len(fleet.names)} things")


def _receiver(receiver: Receiver | None) -> dict[str, str]:
    if receiver is None or receiver.failing is None:
        return _hop("unknown", "not asked")
    if receiver.failing:
        return _hop("failed", f"no answer ({receiver.failing})")
    if not receiver.ready:
        return _hop("failed", "not ready")
    stored = receiver.rates.get("stored", 0.0)
    rejected = receiver.rates.get("rejected", 0.0) + receiver.rates.get("dead_lettered", 0.0)
    unavailable = receiver.rates.get("unavailable", 0.0)
    detail = f"{stored:.1f}/s stored" + (f", {rejected:.1f}/s rejected" if rejected else "")
    if unavailable:
        return _hop("warning", f"{detail}, {unavailable:.1f}/s to be sent again")
    return _hop("warning" if rejected else "ok", detail)


def _table(table: Table) -> dict[str, str]:
    usage = table.usage
    if usage.failing:
        return _hop("failed", usage.failing)
    if not usage.queries:
        return _hop("unknown", "not read yet")
    return _hop("ok", f"read in {usage.seconds * 1_000:.0f} ms")


def _dead_letters(receiver: Receiver | None) -> dict[str, str]:
    if receiver is None or (receiver.failing is not None and receiver.failing) or not receiver.dead_letters:
        return _hop("unknown", "not counted")
    waiting = {queue: count for queue, count in receiver.dead_letters.items() if count}
    if not waiting:
        return _hop("ok", "none waiting")
    reasons = {"rule": "not delivered by IoT Core", "receiver": "invalid"}
    return _hop("warning", ", ".join(f"{count} {reasons.get(queue, queue)}" for queue, count in waiting.items()))
