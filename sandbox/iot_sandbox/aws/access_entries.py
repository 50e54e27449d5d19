"""EKS's access entries, which moto lacks: one of each principal, and the creator's made by EKS itself.

https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateAccessEntry.html
https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.eks.exceptions import InvalidRequestException, ResourceInUseException, ResourceNotFoundException

ADMINISTRATOR = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
STANDARD = "STANDARD"


@dataclass
class Entry:
    """A principal that may call a cluster's API server; `policies` by ARN."""

    arn: str
    cluster: str
    principal: str
    username: str
    kind: str = STANDARD
    groups: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    modified: datetime = field(default_factory=lambda: datetime.now(UTC))

    def description(self) -> dict[str, Any]:
        """The API's AccessEntry."""
        return {
            "clusterName": self.cluster,
            "principalArn": self.principal,
            "kubernetesGroups": list(self.groups),
            "accessEntryArn": self.arn,
            "createdAt": self.created,
            "modifiedAt": self.modified,
            "tags": dict(self.tags),
            "username": self.username,
            "type": self.kind,
        }


class Entries:
    """The access entries of one cluster."""

    def __init__(self, cluster: Any, account: str, region: str) -> None:
        self._cluster = cluster
        self._account = account
        self._region = region
        self._all: dict[str, Entry] = {}

    def create(self, principal: str, wanted: Mapping[str, Any]) -> Entry:
        """CreateAccessEntry."""
        self._check_mode()
        if principal in self._all:
            raise ResourceInUseException(
                message="The specified access entry resource is already in use on this cluster."
            )
        resource = principal.rpartition(":")[2]  # root, user/<path and name> or role/<path and name>
        name = resource.rpartition("/")[2]
        of_role = f"arn:aws:sts::{self._account}:assumed-role/{name}/{{{{SessionName}}}}"
        kind, _, _ = resource.partition("/")
        entry = self._all[principal] = Entry(
            arn=f"arn:aws:eks:{self._region}:{self._account}:access-entry/{self._cluster.name}/{kind}/{self._account}"
            f"/{name}/{uuid.uuid4()}",
            cluster=self._cluster.name,
            principal=principal,
            username=wanted.get("username") or (of_role if kind == "role" else principal),
            kind=wanted.get("type") or STANDARD,
            groups=wanted.get("kubernetesGroups") or (),
            tags=wanted.get("tags") or {},
        )
        return entry

    def admit_nodes(self, role: str) -> None:
        """The entry that EKS makes for a managed node group's role."""
        if self._cluster.access_config["authenticationMode"] != "CONFIG_MAP" and role not in self._all:
            self.create(role, {"type": "EC2_LINUX", "kubernetesGroups": ["system:nodes"]})

    def get(self, principal: str) -> Entry:
        """DescribeAccessEntry."""
        self._check_mode()
        if principal not in self._all:
            raise ResourceNotFoundException(
                message="The specified principalArn could not be found. You can view your available access entries "
                "with 'list-access-entries'."
            )
        return self._all[principal]

    def policies(self, principal: str) -> Collection[str]:
        """ARNs of the access policies that a principal has; none without an entry."""
        entry = self._all.get(principal)
        return entry.policies if entry else ()

    def principals(self) -> list[str]:
        """ListAccessEntries."""
        self._check_mode()
        return sorted(self._all)

    def update(self, principal: str, wanted: Mapping[str, Any]) -> Entry:
        """UpdateAccessEntry."""
        entry = self.get(principal)
        entry.groups = entry.groups if wanted.get("kubernetesGroups") is None else wanted["kubernetesGroups"]
        entry.username = wanted.get("username") or entry.username
        entry.modified = datetime.now(UTC)
        return entry

    def delete(self, principal: str) -> None:
        """DeleteAccessEntry."""
        del self._all[self.get(principal).principal]

    def associate(self, principal: str, policy: str, scope: Mapping[str, Any]) -> dict[str, Any]:
        """AssociateAccessPolicy; repeated, it changes the scope."""
        entry, now = self.get(principal), datetime.now(UTC)
        if entry.kind != STANDARD:
            raise InvalidRequestException(
                message='This operation can only be performed on Access Entries with a type of "STANDARD".'
            )
        former = entry.policies.get(policy, {"associatedAt": now})
        entry.policies[policy] = {**former, "policyArn": policy, "accessScope": dict(scope), "modifiedAt": now}
        return entry.policies[policy]

    def disassociate(self, principal: str, policy: str) -> None:
        """DisassociateAccessPolicy."""
        if self.get(principal).policies.pop(policy, None) is None:
            raise ResourceNotFoundException(message=f"The specified policyArn {policy} is not associated.")

    def _check_mode(self) -> None:
        if self._cluster.access_config["authenticationMode"] == "CONFIG_MAP":
            raise InvalidRequestException(
                message="The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform "
                "this operation."
            )
