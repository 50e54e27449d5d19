"""Route 53 where a deleted record can be created again.

moto looks for existing records in the journal of a zone's changes, where a deletion cancels nothing: a name that
was made, deleted and made again "already exists", and amazon.aws.route53 takes that for success.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from moto.route53 import models, urls
from moto.route53.models import Route53Backend


def record(change: dict[str, Any]) -> tuple[str, str, str | None]:
    """What a change is about: name, type and set identifier of a record."""
    about = change["ResourceRecordSet"]
    return about["Name"].strip("."), about["Type"], about.get("SetIdentifier")


class SandboxRoute53Backend(Route53Backend):
    """Hosted zones of one account."""

    @property
    def _url_module(self) -> ModuleType:
        return urls

    def change_resource_record_sets(self, zoneid: str, change_list: list[dict[str, Any]]) -> None:
        """Change a zone, then take out of its journal what a deletion has undone."""
        super().change_resource_record_sets(zoneid, change_list)
        journal = self.get_hosted_zone(zoneid).rr_changes
        standing: list[dict[str, Any]] = []
        for change in journal:
            if change["Action"] == "DELETE":
                standing = [each for each in standing if record(each) != record(change)]
            else:
                standing.append(change)
        journal[:] = standing


def install() -> None:
    """Replace moto's backend."""
    models.route53_backends.backend = SandboxRoute53Backend
