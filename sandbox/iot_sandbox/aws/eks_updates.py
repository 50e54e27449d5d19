"""EKS's updates of clusters and node groups. Each is carried out at once, and can be looked up.

https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateClusterConfig.html
https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateNodegroupVersion.html
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.eks.exceptions import InvalidParameterException, InvalidRequestException, ResourceNotFoundException
from moto.eks.responses import EKSResponse

from iot_sandbox.aws import eks_versions

PATHS = (
    "{0}/clusters/(?P<name>[^/]+)/node-groups/(?P<nodegroupName>[^/]+)/update-version$",
    "{0}/clusters/(?P<name>[^/]+)/updates$",
    "{0}/clusters/(?P<name>[^/]+)/updates/(?P<updateId>[^/]+)$",
)
# Members of UpdateClusterConfig that stand in a cluster's description, with the kind of update that each makes.
CONFIGURATION = {
    "accessConfig": ("access_config", "AccessConfigUpdate"),
    "deletionProtection": ("deletion_protection", "DeletionProtectionUpdate"),
    "logging": ("logging", "LoggingUpdate"),
    "resourcesVpcConfig": ("resources_vpc_config", "EndpointAccessUpdate"),
    "upgradePolicy": ("upgrade_policy", "UpgradePolicyUpdate"),
    "zonalShiftConfig": ("zonal_shift_config", "ZonalShiftConfigUpdate"),
}


def check_sizes(sizes: dict[str, int], too_few: str = "minSize can't be greater than desiredSize") -> None:
    """Refuse a number of nodes that is not within a group's limits.

    https://github.com/terraform-aws-modules/terraform-aws-eks/issues/3306, sassoftware/viya4-iac-aws#298
    """
    if sizes["minSize"] > sizes["desiredSize"]:
        raise InvalidParameterException(message=too_few)
    if sizes["desiredSize"] > sizes["maxSize"]:
        raise InvalidParameterException(message="desiredSize can't be greater than maxSize")


def check_types(types: list[str], image: str) -> None:
    """Refuse instance types of another architecture than the image's.

    https://github.com/terraform-aws-modules/terraform-aws-eks/issues/1494, eksctl-io/eksctl#7754
    """
    architecture = "arm64" if "ARM_64" in image.upper() else "x86_64"
    for each in types:
        known = INSTANCE_TYPES.get(each)
        if image != "CUSTOM" and known and architecture not in known["ProcessorInfo"]["SupportedArchitectures"]:
            raise InvalidParameterException(
                message=f"[{each}] is not a valid instance type for requested amiType {image}"
            )


class UpdatingEKSResponse(EKSResponse):
    """One request to EKS."""

    def update_cluster_version(self) -> ActionResult:
        """UpdateClusterVersion: one minor version at a time."""
        cluster, version = self._cluster(), self._get_param("version")
        eks_versions.check_update(cluster.version, version)
        cluster.version = version
        return self._update("VersionUpdate", {"Version": version})

    def update_cluster_config(self) -> ActionResult:
        """UpdateClusterConfig: one kind of setting at a time, and only to another value."""
        cluster = self._cluster()
        wanted = {name: self._get_param(name) for name in CONFIGURATION if self._get_param(name) is not None}
        if len(wanted) != 1:
            raise InvalidParameterException(message="Exactly one type of update is supported in a request.")
        [(name, value)] = wanted.items()
        attribute, kind = CONFIGURATION[name]
        present = getattr(cluster, attribute)
        changed = {**(present or {}), **value} if isinstance(value, dict) else value
        if changed == present:
            raise InvalidParameterException(message="No changes needed for the cluster configuration provided")
        setattr(cluster, attribute, changed)
        return self._update(kind, value if isinstance(value, dict) else {name: value})

    def update_nodegroup_config(self) -> ActionResult:
        """UpdateNodegroupConfig: the number of nodes stays within the limits."""
        cluster, wanted = self._cluster(), self._get_param("scalingConfig") or {}
        sizes = self._group().scaling_config | wanted
        least, present = sizes["minSize"], sizes["desiredSize"]
        check_sizes(sizes, f"Minimum capacity {least} can't be greater than desired size {present}")
        update = self.eks_backend.update_nodegroup_config(
            cluster.name,
            self._get_param("nodegroupName"),
            **{
                name: self._get_param(parameter)
                for name, parameter in (
                    ("labels", "labels"),
                    ("taints", "taints"),
                    ("scaling_config", "scalingConfig"),
                    ("update_config", "updateConfig"),
                    ("node_repair_config", "nodeRepairConfig"),
                )
            },
        )
        cluster.updates[update["id"]] = update
        return ActionResult({"update": update})

    def update_nodegroup_version(self) -> ActionResult:
        """UpdateNodegroupVersion: a version up to the cluster's, never below the group's, or another template's."""
        cluster, group = self._cluster(), self._group()
        version, template = self._get_param("version"), self._get_param("launchTemplate")
        if template and not group.launch_template:
            raise InvalidParameterException(
                message="You cannot specify a launch template for a node group that was created without one."
            )
        version = version or (group.version if template else cluster.version)
        eks_versions.check_nodes(version, group.version, cluster.version)
        if template:
            if (template.get("id") or group.launch_template.get("id")) != group.launch_template.get("id"):
                raise InvalidRequestException(message="The launch template of a node group cannot be changed.")
            group.launch_template = {**group.launch_template, **template}
        group.version = version
        group.release_version = self._get_param("releaseVersion") or f"{version}.0-sandbox"
        group.modified_at = utcnow()
        values = {"Version": version, "ReleaseVersion": group.release_version}
        if template:
            values["LaunchTemplateVersion"] = template["version"]
        return self._update("VersionUpdate", values)

    def describe_update(self) -> ActionResult:
        """DescribeUpdate."""
        updates, wanted = self._cluster().updates, self.path.rpartition("/")[2]
        if wanted not in updates:
            raise ResourceNotFoundException(message=f"No update found for ID: {wanted}")
        return ActionResult({"update": updates[wanted]})

    def _update(self, kind: str, values: dict[str, Any]) -> ActionResult:
        update = {
            "id": str(uuid.uuid4()),
            "status": "Successful",
            "type": kind,
            "params": [
                {"type": name[0].upper() + name[1:], "value": value if isinstance(value, str) else json.dumps(value)}
                for name, value in values.items()
            ],
            "createdAt": utcnow(),
            "errors": [],
        }
        self._cluster().updates[update["id"]] = update
        return ActionResult({"update": update})

    def _cluster(self) -> Any:
        return self.eks_backend.describe_cluster(name=self._get_param("name"))

    def _group(self) -> Any:
        return self.eks_backend.describe_nodegroup(self._cluster().name, self._get_param("nodegroupName"))
