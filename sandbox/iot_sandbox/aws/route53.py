"""Route 53 whose changes are PENDING before they are INSYNC, and where a deleted record can be created again.

Name servers answer by a change once it is INSYNC; until then a name is asked for in vain, and resolvers keep that:
https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetChange.html

moto looks for existing records in the journal of a zone's changes, where a deletion cancels nothing: a name that
was made, deleted and made again "already exists", and amazon.aws.route53 takes that for success.
"""

from __future__ import annotations

import secrets
import string
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

from moto.core.responses import ActionResult
from moto.route53 import models, urls
from moto.route53.exceptions import Route53ClientError
from moto.route53.models import FakeZone, RecordSet, Route53Backend, route53_backends
from moto.route53.responses import Route53

from iot_sandbox.aws import settings

ID_CHARACTERS = string.ascii_uppercase + string.digits
CHANGES_KEPT = 1000


class NoSuchChangeError(Route53ClientError):
    """The change was never made."""

    def __init__(self, change: str) -> None:
        super().__init__("NoSuchChange", f"Could not find resource with ID: {change}")


class InvalidChangeBatchError(Route53ClientError):
    """Changes that cannot be made; none of them is."""

    def __init__(self, reason: str) -> None:
        super().__init__("InvalidChangeBatch", f"[{reason}]")


@dataclass(frozen=True)
class Change:
    """A change that was accepted; `insync_at` is of the monotonic clock, in seconds."""

    zone: str
    insync_at: float
    id: str = field(default_factory=lambda: "C" + "".join(secrets.choice(ID_CHARACTERS) for _ in range(20)))
    submitted: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def pending(self) -> bool:
        """Whether some name servers do not answer by it yet."""
        return time.monotonic() < self.insync_at

    def info(self) -> dict[str, Any]:
        """The API's ChangeInfo."""
        status = "PENDING" if self.pending else "INSYNC"
        return {"Id": f"/change/{self.id}", "Status": status, "SubmittedAt": self.submitted}


def backend(account_id: str, partition: str) -> SandboxRoute53Backend:
    """An account's hosted zones."""
    found = route53_backends[account_id][partition]
    assert isinstance(found, SandboxRoute53Backend)  # noqa: S101 - install() sees to it
    return found


def record(change: dict[str, Any]) -> tuple[str, str, str | None]:
    """What a change is about: name, type and set identifier of a record."""
    about = change["ResourceRecordSet"]
    return about["Name"].strip(".").lower(), about["Type"], about.get("SetIdentifier")


def check(zone: FakeZone, changes: list[dict[str, Any]]) -> None:
    """Refuse records that are there, or not, and a CNAME beside another record or at the zone's own name.

    https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/ResourceRecordTypes.html#CNAMEFormat
    """
    apex = zone.name.strip(".").lower()
    present = {record({"ResourceRecordSet": {"Name": one.name, "Type": one.type, "SetIdentifier": one.set_identifier}})
               for one in zone.rrsets}  # fmt: skip
    for change in changes:
        name, kind, _ = this = record(change)
        which = f"resource record set [name='{name}.', type='{kind}']"
        what = f"RRSet of type {kind} with DNS name {name}. is not permitted"
        if change["Action"] == "DELETE":
            if this not in present:
                raise InvalidChangeBatchError(f"Tried to delete {which} but it was not found")
            present.discard(this)
            continue
        if change["Action"] == "CREATE" and this in present:
            raise InvalidChangeBatchError(f"Tried to create {which} but it already exists")
        others = {type_ for at, type_, _ in present if at == name and type_ != kind}
        if kind == "CNAME" and name == apex:
            raise InvalidChangeBatchError(f"{what} at apex in zone {apex}.")
        if kind == "CNAME" and others:
            raise InvalidChangeBatchError(
                f"{what} as it conflicts with other records with the same DNS name in zone {apex}."
            )
        if "CNAME" in others:
            raise InvalidChangeBatchError(
                f"{what} because a conflicting RRSet of type CNAME with the same DNS name already exists"
                f" in zone {apex}."
            )
        present.add(this)


class SandboxRoute53Backend(Route53Backend):
    """Hosted zones of one account."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.changes: dict[str, Change] = {}
        self._served: dict[str, list[RecordSet]] = {}

    @property
    def _url_module(self) -> ModuleType:
        return urls

    def submit(self, zone: str) -> Change:
        """Accept a change of a zone."""
        change = Change(zone, time.monotonic() + settings.current().route53_sync_time)
        self.changes[change.id] = change
        while len(self.changes) > CHANGES_KEPT:
            self.changes.pop(next(iter(self.changes)), None)
        return change

    def pending(self, zone: str) -> bool:
        """Whether a change of the zone is still to reach name servers."""
        return any(change.zone == zone and change.pending for change in list(self.changes.values()))

    def served(self, zone: FakeZone) -> list[RecordSet]:
        """The records that the zone's name servers answer by: those before the changes that are pending."""
        return self._served[zone.resource_id] if self.pending(zone.resource_id) else list(zone.rrsets)

    def change_resource_record_sets(self, zoneid: str, change_list: list[dict[str, Any]]) -> None:
        """Change a zone, then take out of its journal what a deletion has undone."""
        check(self.get_hosted_zone(zoneid), change_list)
        if not self.pending(zoneid):
            self._served[zoneid] = list(self.get_hosted_zone(zoneid).rrsets)
        super().change_resource_record_sets(zoneid, change_list)
        journal = self.get_hosted_zone(zoneid).rr_changes
        standing: list[dict[str, Any]] = []
        for change in journal:
            if change["Action"] == "DELETE":
                standing = [each for each in standing if record(each) != record(change)]
            else:
                standing.append(change)
        journal[:] = standing


class SandboxRoute53Response(Route53):
    """One request to Route 53."""

    def change_resource_record_sets(self) -> ActionResult:
        """ChangeResourceRecordSets."""
        super().change_resource_record_sets()
        zone = str(self._get_param("HostedZoneId")).rpartition("/")[2]
        return ActionResult({"ChangeInfo": backend(self.current_account, self.partition).submit(zone).info()})

    def get_change(self) -> ActionResult:
        """GetChange."""
        identifier = str(self._get_param("Id")).rpartition("/")[2]
        change = backend(self.current_account, self.partition).changes.get(identifier)
        if change is None:
            raise NoSuchChangeError(identifier)
        return ActionResult({"ChangeInfo": change.info()})


def install() -> None:
    """Replace moto's backend and calls."""
    models.route53_backends.backend = SandboxRoute53Backend
    for path in urls.url_paths:
        urls.url_paths[path] = SandboxRoute53Response.dispatch
