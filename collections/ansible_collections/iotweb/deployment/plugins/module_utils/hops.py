# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hops of a deployment, and what is said of each. Nothing here talks to anything."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

OK, NOTE, BROKEN = "ok", "note", "BROKEN"
EXPIRY_DAYS = 14  # ACM renews 60 days ahead, role device 30
UNSEEN_SECONDS = 86_400
WIDTH = 110


@dataclass(frozen=True)
class Hop:
    """One hop: its state in a line, and the fix where it is broken, or a note."""

    name: str
    state: str
    mark: str = OK
    fix: str = ""

    def shown(self) -> dict[str, str]:
        return asdict(self)


def tagged(role: str) -> str:
    """The command that brings one role's part to what this checkout says."""
    return f"ansible-playbook site.yml --tags {role}"


def days(since: datetime, until: datetime | None = None) -> int:
    """Whole days from one time to another, or to now."""
    return ((until or datetime.now(UTC)) - since).days


def rollout(name: str, deployment: dict[str, Any], role: str, more: str = "") -> Hop:
    """Judge a Kubernetes Deployment by its pods."""
    spec, status = deployment["spec"], deployment.get("status", {})
    wanted = spec.get("replicas", 1)
    ready, updated = status.get("readyReplicas") or 0, status.get("updatedReplicas") or 0
    state = f"{ready} of {wanted} pods ready" + (f", {more}" if more else "")
    if not ready and wanted:
        return Hop(name, state, BROKEN, f"kubectl -n {deployment['metadata']['namespace']} get pods; {tagged(role)}")
    if ready < wanted or updated < wanted:
        return Hop(name, f"{state}, {updated} updated", NOTE, f"a rollout goes on, or does not end: {tagged(role)}")
    return Hop(name, state)


def chart(labels: dict[str, str], wanted: str) -> tuple[str, bool]:
    """The chart's version of an object by its labels, and whether it differs from the one of this checkout."""
    found = labels.get("helm.sh/chart") or labels.get("chart") or ""
    version = found.rpartition("-")[2]
    differs = bool(wanted and version and version != wanted)
    return (f"chart {version or '?'}" + (f" (checkout: {wanted})" if differs else "")), differs


CONTROLLER_ROLE = "load_balancer_controller"


def controller(deployment: dict[str, Any], wanted: str) -> Hop:
    """Judge the load balancer controller: while it is away, the load balancer serves the pods that it has."""
    text, differs = chart(deployment["metadata"].get("labels", {}), wanted)
    judged = rollout("controller", deployment, CONTROLLER_ROLE, text)
    if judged.mark == BROKEN:
        return replace(judged, mark=NOTE, fix=f"readings arrive, but new pods get none until it runs: {judged.fix}")
    if differs and judged.mark == OK:
        return replace(judged, mark=NOTE, fix=f"this checkout installs another version: {tagged(CONTROLLER_ROLE)}")
    return judged


def image(deployed: str, digest: str, expected: str) -> Hop:
    """Compare the image that the receiver runs with the one that this checkout builds."""
    state = f"{deployed.rpartition('/')[2]} ({digest[:19]})"
    if deployed == expected:
        return Hop("image", f"{state}, of this checkout")
    return Hop("image", f"{state}; this checkout: {expected.rpartition(':')[2]}", NOTE,
               f"this checkout's image is not deployed: {tagged('receiver_image,receiver')}")  # fmt: skip


def certificate(until: datetime, name: str, fix: str) -> Hop:
    """Judge a certificate by its end."""
    left = days(datetime.now(UTC), until)
    state = f"ends {until:%Y-%m-%d}, in {left} days"
    return Hop(name, state, BROKEN if left < 0 else NOTE, fix) if left < EXPIRY_DAYS else Hop(name, state)


@dataclass(frozen=True)
class Enrolment:
    """Certificates of one thing that work: when each was made and ends."""

    thing: str
    made: Sequence[datetime]
    ends: Sequence[datetime]


def enrolments(found: Sequence[Enrolment], of: int) -> Hop:
    """Judge the devices' certificates. `of` is the number of all things, where not all were looked at."""
    if not found:
        return Hop("certificates", "no device is enrolled by this inventory", NOTE, "group edge is empty")
    without = [one.thing for one in found if not one.made]
    several = [one.thing for one in found if len(one.made) > 1]
    soon = [one.thing for one in found for end in one.ends if days(datetime.now(UTC), end) < EXPIRY_DAYS]
    ages = [(days(made), one.thing) for one in found for made in one.made]
    state = f"{len(found) - len(without)} of {len(found)} devices have one" + (
        f" ({of} in all)" if of > len(found) else ""
    )
    if ages:
        state += f", the oldest {max(ages)[0]} days old ({max(ages)[1]})"
    if without:
        fix = f"{some(without)} cannot connect: {tagged('device,device_kit')}"
        return Hop("certificates", state, BROKEN if len(without) == len(found) else NOTE, fix)
    if soon:
        return Hop(
            "certificates",
            state,
            NOTE,
            f"certificates of {some(soon)} end within {EXPIRY_DAYS} days: {tagged('device')}",
        )
    if several:
        fix = (
            f"{some(several)} have several: where no other device uses them, {tagged('device')} -e device_reissue=true"
        )
        return Hop("certificates", state, NOTE, fix)
    return Hop("certificates", state)


def some(names: Sequence[str]) -> str:
    """Names, at most three of them."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def seen(ages: dict[str, float | None]) -> Hop:
    """Judge devices by how old, in seconds, the newest reading of each is; None where there is none."""
    if not ages:
        return Hop(
            "readings", "no device publishes: group edge is empty", NOTE, "enrol one: docs/operating.md, Devices"
        )
    silent = [name for name, age in ages.items() if age is None or age > UNSEEN_SECONDS]
    newest = min((age for age in ages.values() if age is not None), default=None)
    state = f"{len(ages) - len(silent)} of {len(ages)} devices seen in the last day"
    if newest is not None:
        state += f", the newest reading {span(newest)} old"
    if silent:
        return Hop("readings", state, NOTE, f"nothing came from {some(silent)}: iot-device doctor there says why")
    return Hop("readings", state)


def span(seconds: float) -> str:
    """A duration in its largest unit."""
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def dead_letters(counts: dict[str, int]) -> Hop:
    """Judge the dead-letter queues."""
    waiting = {name: number for name, number in counts.items() if number}
    if not waiting:
        return Hop("dead letters", "none")
    state = ", ".join(f"{number} on the {name}'s queue" for name, number in waiting.items())
    return Hop("dead letters", state, NOTE, "playbooks/redrive.yml --check lists them, without --check it stores them")


def table(hops: Iterable[Hop]) -> list[str]:
    """The hops, a line each, then what to do about what is not as it should be."""
    hops = list(hops)
    width = max(len(hop.name) for hop in hops)
    lines = [f"{hop.name:<{width}}  {hop.mark:<6}  {hop.state}"[:WIDTH] for hop in hops]
    return lines + [f"{hop.name}: {hop.fix}" for hop in hops if hop.mark == NOTE and hop.fix]


def verdict(hops: Iterable[Hop]) -> str:
    """The first broken hop with its fix; empty where none is."""
    broken = next((hop for hop in hops if hop.mark == BROKEN), None)
    return f"The path breaks at: {broken.name} ({broken.state}). {broken.fix}".strip() if broken else ""
