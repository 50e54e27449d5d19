"""CloudWatch Logs where EKS makes the log group of a deleted cluster anew, since its last lines come late.

The new group has neither tags nor retention: terraform-aws-modules/terraform-aws-eks#2446, #2763.
"""

from __future__ import annotations

import re
from types import ModuleType

from moto.logs import models, urls
from moto.logs.models import LogsBackend, logs_backends

GROUP = re.compile(r"/aws/eks/(.+)/cluster")
STREAM = "kube-apiserver-0123456789abcdef0123456789abcdef"


class SandboxLogsBackend(LogsBackend):
    """CloudWatch Logs of one account and region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self._late: set[str] = set()

    @property
    def _url_module(self) -> ModuleType:
        return urls

    def expect_late_lines(self, cluster: str) -> None:
        """A cluster with logging is being deleted."""
        self._late.add(cluster)

    def delete_log_group(self, log_group_name: str) -> None:
        """DeleteLogGroup: the first one after its cluster's deletion is undone."""
        group = self.groups.get(log_group_name)
        super().delete_log_group(log_group_name)
        if group:
            self.tagger.delete_all_tags_for_resource(group.arn)  # moto would give them to the next of that name
        found = GROUP.fullmatch(log_group_name)
        if found and found[1] in self._late:
            self._late.discard(found[1])
            self.create_log_group(log_group_name, {})
            self.create_log_stream(log_group_name, STREAM)


def backend(account_id: str, region: str) -> SandboxLogsBackend:
    """CloudWatch Logs of an account and region."""
    found = logs_backends[account_id][region]
    assert isinstance(found, SandboxLogsBackend)  # noqa: S101 - install() sees to it
    return found


def install() -> None:
    """Replace moto's backend."""
    models.logs_backends.backend = SandboxLogsBackend
