"""EKS's add-ons, which moto lacks. They are described, not run: the cluster has what the product needs of its own.

https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateAddon.html
https://docs.aws.amazon.com/eks/latest/userguide/managing-ebs-csi.html (needs a role for its pods)
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from moto.eks.exceptions import InvalidParameterException, ResourceInUseException, ResourceNotFoundException

# Whose pods call AWS: without a role they find no credentials where instances answer one hop away only.
NEEDS_ROLE = {"aws-ebs-csi-driver", "aws-efs-csi-driver", "aws-mountpoint-s3-csi-driver"}
KEPT = ("addonVersion", "serviceAccountRoleArn", "configurationValues", "podIdentityAssociations", "tags")
TOO_FEW = {
    "code": "InsufficientNumberOfReplicas",
    "message": "The add-on is unhealthy because it doesn't have the desired number of replicas.",
}


NAMES = ("aws-ebs-csi-driver", "coredns", "kube-proxy", "metrics-server", "vpc-cni")


def default_version(kubernetes: str) -> str:
    """The default version of an add-on for a version of Kubernetes."""
    return f"v{kubernetes}.0-eksbuild.1"


def versions(names: Sequence[str], kubernetes: Sequence[str]) -> list[dict[str, Any]]:
    """DescribeAddonVersions' members; of an add-on that EKS lacks, none."""
    return [
        {
            "addonName": name,
            "addonVersions": [
                {
                    "addonVersion": default_version(each),
                    "compatibilities": [{"clusterVersion": each, "platformVersions": ["*"], "defaultVersion": True}],
                }
                for each in kubernetes
            ],
        }
        for name in names
        if name in NAMES
    ]


class Addons:
    """The add-ons of one cluster."""

    def __init__(self, cluster: Any, account: str, region: str) -> None:
        self._cluster = cluster
        self._arn = f"arn:aws:eks:{region}:{account}:addon/{cluster.name}"
        self._all: dict[str, dict[str, Any]] = {}

    def create(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """CreateAddon."""
        name, now = str(wanted["addonName"]), datetime.now(UTC)
        if name in self._all:
            cluster = self._cluster.name
            raise ResourceInUseException(clusterName=cluster, addonName=name, message="Addon already exists.")
        self._all[name] = {
            "addonName": name,
            "clusterName": self._cluster.name,
            "addonVersion": default_version(self._cluster.version),
            "addonArn": f"{self._arn}/{name}/{uuid.uuid4()}",
            "createdAt": now,
            "tags": {},
        }
        return self._change(name, wanted)

    def get(self, name: str) -> dict[str, Any]:
        """DescribeAddon."""
        if name not in self._all:
            raise ResourceNotFoundException(
                clusterName=self._cluster.name,
                addonName=name,
                message=f"No addon: {name} found in cluster: {self._cluster.name}",
            )
        return self._all[name]

    def names(self) -> list[str]:
        """ListAddons."""
        return sorted(self._all)

    def update(self, name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """UpdateAddon: carried out at once."""
        self.get(name)
        self._change(name, wanted)
        return {"id": str(uuid.uuid4()), "status": "Successful", "type": "AddonUpdate", "params": [], "errors": []}

    def delete(self, name: str) -> dict[str, Any]:
        """DeleteAddon."""
        addon = self.get(name)
        del self._all[name]
        return {**addon, "status": "DELETING"}

    def _change(self, name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
        addon = self._all[name]
        role = wanted.get("serviceAccountRoleArn")
        if role and ":role/" not in role:
            raise InvalidParameterException(message=f"The role {role} is not valid")
        addon |= {key: wanted[key] for key in KEPT if wanted.get(key)}
        able = name not in NEEDS_ROLE or addon.get("serviceAccountRoleArn") or addon.get("podIdentityAssociations")
        addon["status"] = "ACTIVE" if able else "DEGRADED"
        addon["health"] = {"issues": [] if able else [{**TOO_FEW, "resourceIds": [name]}]}
        addon["modifiedAt"] = datetime.now(UTC)
        return addon
