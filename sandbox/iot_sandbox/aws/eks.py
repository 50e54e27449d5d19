"""EKS that answers with the real cluster's API server and runs an instance for each of its nodes.

https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeCluster.html
https://docs.aws.amazon.com/eks/latest/userguide/sec-group-reqs.html (the cluster's security group)
"""

from __future__ import annotations

import base64
import hashlib
import logging
from functools import cache
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.eks import urls
from moto.eks.exceptions import InvalidParameterException
from moto.eks.models import Cluster, eks_backends

from iot_sandbox.aws import addons, eks_more, eks_updates, eks_versions, identities, kubernetes, logs, nodes, settings
from iot_sandbox.aws.access_entries import ADMINISTRATOR, Entries
from iot_sandbox.aws.ec2 import VcpuLimitExceededError

log = logging.getLogger(__name__)
DEFAULT_IMAGE = "AL2023_x86_64_STANDARD"


@cache
def provider_ids() -> nodes.ProviderIds | None:
    """The one task that identifies nodes; None where no kubeconfig is configured."""
    kubeconfig = settings.current().kubeconfig
    return nodes.ProviderIds(kubeconfig) if kubeconfig else None


def issuers(account: str) -> list[str]:
    """The OpenID Connect issuers of an account's clusters, for all of which the one API server stands."""
    clusters = [cluster for backend in eks_backends[account].values() for cluster in backend.clusters.values()]
    return [str(cluster.identity["oidc"]["issuer"]) for cluster in clusters]


def issuer(account: str, region: str, name: str) -> str:
    """A new cluster's issuer: the API server's own, or one as EKS names it where another cluster has that."""
    identity = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest().upper()
    named = f"https://oidc.eks.{region}.amazonaws.com/id/{identity}"
    own = _own_issuer() or named
    return named if own in issuers(account) else own


def _own_issuer() -> str:
    """The API server's issuer: as configured, else as it says; empty where it does not answer yet."""
    config = settings.current()
    if config.kubernetes_issuer:
        return config.kubernetes_issuer
    if config.kubeconfig:
        try:
            discovery = kubernetes.load(config.kubeconfig).call("GET", "/.well-known/openid-configuration")
            return str(discovery["issuer"])
        except kubernetes.KubernetesError as error:
            log.info("cannot read the cluster's issuer yet: %s", error)
    return ""


def _launch_failure(group: Any, reason: str) -> dict[str, Any]:
    """The issue of a group whose instances EC2 refuses: klothoplatform/klotho#311 has AWS's words."""
    return {
        "code": "AsgInstanceLaunchFailures",
        "message": f"Could not launch On-Demand Instances. VcpuLimitExceeded - {reason} Launching EC2 instance failed.",
        "resourceIds": [each["name"] for each in group.resources["autoScalingGroups"]],
    }


class SandboxEKSResponse(eks_more.MoreEKSResponse):
    """One request to EKS."""

    def create_cluster(self) -> ActionResult:
        """CreateCluster: answers with the requested values, and creates the cluster's security group."""
        if (self._get_param("kubernetesNetworkConfig") or {}).get("ipFamily") == "ipv6":
            raise InvalidParameterException(
                message="ipFamily ipv6: the cluster behind this endpoint has IPv4 addresses only, as the product needs"
            )
        if self._get_param("version"):
            eks_versions.check(self._get_param("version"), utcnow().date())
        result = super().create_cluster()
        cluster: Any = self.eks_backend.clusters[self._get_param("name")]
        access = self._get_param("accessConfig") or {}
        cluster.access_config = {
            "authenticationMode": access.get("authenticationMode", "CONFIG_MAP"),
            "bootstrapClusterCreatorAdminPermissions": access.get("bootstrapClusterCreatorAdminPermissions", True),
        }
        cluster.upgrade_policy = self._get_param("upgradePolicy") or {"supportType": "EXTENDED"}
        cluster.zonal_shift_config = self._get_param("zonalShiftConfig")
        cluster.deletion_protection = bool(self._get_param("deletionProtection"))
        cluster.health = {"issues": []}
        cluster.version = self._get_param("version") or eks_versions.DEFAULT
        cluster.identity = {"oidc": {"issuer": issuer(self.current_account, self.region, cluster.name)}}
        network = dict(self._get_param("kubernetesNetworkConfig") or {})
        cluster.kubernetes_network_config = {
            "serviceIpv4Cidr": "172.20.0.0/16",
            "ipFamily": "ipv4",
            "elasticLoadBalancing": {"enabled": False},
            **network,
        }
        cluster.updates = {}
        cluster.addons = addons.Addons(cluster, self.current_account, self.region)
        self._admit_creator(cluster)
        self._place(cluster)
        self._point_at_real_cluster(cluster)
        return result

    def _admit_creator(self, cluster: Any) -> None:
        """EKS itself makes the creator's access entry: https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateAccessConfigRequest.html"""
        cluster.entries = Entries(cluster, self.current_account, self.region)
        access = cluster.access_config
        if access["authenticationMode"] != "CONFIG_MAP" and access["bootstrapClusterCreatorAdminPermissions"]:
            creator = identities.principal_of(settings.current(), self.get_access_key())
            cluster.entries.create(creator, {})
            cluster.entries.associate(creator, ADMINISTRATOR, {"type": "cluster"})

    def describe_cluster(self) -> ActionResult:
        """DescribeCluster."""
        cluster = self.eks_backend.describe_cluster(name=self._get_param("name"))
        self._point_at_real_cluster(cluster)
        return ActionResult({"cluster": cluster})

    def delete_cluster(self) -> ActionResult:
        """DeleteCluster: its security group goes with it; its last log lines are still to come."""
        cluster = self.eks_backend.clusters.get(self._get_param("name"))
        result = super().delete_cluster()
        if cluster and any(each.get("enabled") for each in cluster.logging.get("clusterLogging", [])):
            logs.backend(self.current_account, self.region).expect_late_lines(cluster.name)
        group = cluster.resources_vpc_config.get("clusterSecurityGroupId") if cluster else None
        if group:
            self._ec2().delete_security_group(group_id=group)
        return result

    def create_nodegroup(self) -> ActionResult:
        """CreateNodegroup: runs an instance for each real node that has none yet."""
        if sizes := self._get_param("scalingConfig"):
            eks_updates.check_sizes(sizes)
        eks_updates.check_types(self._get_param("instanceTypes") or [], self._get_param("amiType") or DEFAULT_IMAGE)
        result = super().create_nodegroup()
        cluster = self.eks_backend.clusters[self._get_param("name")]
        group: Any = cluster.nodegroups[self._get_param("nodegroupName")]
        group.remote_access = self._get_param("remoteAccess")
        group.update_config = self._get_param("updateConfig") or {"maxUnavailable": 1}
        group.node_repair_config = self._get_param("nodeRepairConfig")
        group.version = self._get_param("version") or cluster.version
        group.release_version = self._get_param("releaseVersion") or f"{group.version}.0-sandbox"
        group.ami_type = self._get_param("amiType") or DEFAULT_IMAGE
        # A launch template sets the disk itself.
        group.disk_size = None if self._get_param("launchTemplate") else self._get_int_param("diskSize", 20)
        group.health = {"issues": []}
        if not group.remote_access:
            group.resources.pop("remoteAccessSecurityGroup", None)
        # moto's default is one dict for all groups.
        group.scaling_config = dict(group.scaling_config)
        self._entries().admit_nodes(self._get_param("nodeRole"))
        try:
            self._ec2().check_vcpus(group.instance_types[0], group.scaling_config["desiredSize"])
        except VcpuLimitExceededError as error:
            # EKS takes the request; its Auto Scaling group fails to launch.
            group.status = "CREATE_FAILED"
            group.health = {"issues": [_launch_failure(group, str(error.message))]}
            return result
        self._run_instances(cluster, group)
        return result

    def delete_nodegroup(self) -> ActionResult:
        """DeleteNodegroup: its instances are terminated, unless another group is there that their nodes go over to."""
        cluster = self.eks_backend.clusters.get(self._get_param("name"))
        group: Any = cluster.nodegroups.get(self._get_param("nodegroupName")) if cluster else None
        result = super().delete_nodegroup()
        instances = getattr(group, "sandbox_instances", [])
        if cluster and cluster.nodegroups:
            # The nodes are this machine's, and Kubernetes never lets a node's providerID change.
            heir: Any = list(cluster.nodegroups.values())[-1]
            heir.sandbox_instances += instances
            for instance in instances:
                self._ec2().create_tags([instance.instance_id], {"eks:nodegroup-name": heir.nodegroup_name})
            return result
        for instance in instances:
            self._ec2().terminate_instances([instance.instance_id])
        return result

    def _ec2(self) -> Any:
        return ec2_backends[self.current_account][self.region]

    def _place(self, cluster: Any) -> None:
        """Fill in what AWS adds to the cluster's network: defaults, the VPC, a security group."""
        network = {
            "endpointPublicAccess": True,
            "endpointPrivateAccess": False,
            "publicAccessCidrs": ["0.0.0.0/0"],
            "securityGroupIds": [],
            **cluster.resources_vpc_config,
        }
        cluster.resources_vpc_config = network
        known = [s for s in self._ec2().describe_subnets() if s.id in network.get("subnetIds", [])]
        if not known:
            return
        network["vpcId"] = known[0].vpc_id
        tag = f"kubernetes.io/cluster/{cluster.name}"
        group = self._ec2().create_security_group(
            f"eks-cluster-sg-{cluster.name}-{hashlib.sha256(cluster.arn.encode()).hexdigest()[:8]}",
            "EKS created security group applied to the cluster's network interfaces and managed nodes",
            vpc_id=known[0].vpc_id,
            tags={
                tag: "owned",
                "aws:eks:cluster-name": cluster.name,
                "Name": f"eks-cluster-sg-{cluster.name}",
            },
        )
        network["clusterSecurityGroupId"] = group.id

    def _point_at_real_cluster(self, cluster: Cluster) -> None:
        """Answer with the real API server once its kubeconfig exists."""
        config = settings.current()
        if config.kubernetes_endpoint:
            cluster.endpoint = config.kubernetes_endpoint
        if config.kubeconfig:
            try:
                real = kubernetes.load(config.kubeconfig)
            except kubernetes.KubernetesError as error:
                log.info("the cluster does not answer yet: %s", error)
                return
            cluster.endpoint = real.server
            cluster.certificate_authority = {"data": base64.b64encode(real.certificate_authority.encode()).decode()}

    def _run_instances(self, cluster: Any, group: Any) -> None:
        taken = {i.node_name for g in cluster.nodegroups.values() for i in getattr(g, "sandbox_instances", ())}
        subnets = [s for s in self._ec2().describe_subnets() if s.id in (group.subnets or [])]
        security_group = cluster.resources_vpc_config.get("clusterSecurityGroupId")
        group.sandbox_instances = []
        if not subnets or not security_group:
            return
        group.sandbox_instances = [
            nodes.run_instance(
                self._ec2(),
                cluster.name,
                node,
                subnets=subnets,
                security_group_ids=[security_group],
                instance_type=(group.instance_types or ["t3.medium"])[0],
                tags={
                    f"kubernetes.io/cluster/{cluster.name}": "owned",
                    "eks:cluster-name": cluster.name,
                    "eks:nodegroup-name": group.nodegroup_name,
                },
            )
            for node in settings.current().kubernetes_nodes
            if node.name not in taken
        ]
        identities = provider_ids()
        if identities:
            identities.add(group.sandbox_instances)


def install() -> None:
    """Replace moto's calls."""
    for path in (*urls.url_paths, *eks_more.PATHS):
        urls.url_paths[path] = SandboxEKSResponse.dispatch
