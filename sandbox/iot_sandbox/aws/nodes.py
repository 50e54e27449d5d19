"""EC2 instances for the real nodes of the cluster, as a managed node group's instances are on AWS.

The load balancer controller finds a pod's target by the network interface that holds its address and
opens ports in the security group that carries the cluster's tag; both are what a node group and the VPC
CNI make on AWS: https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from threading import Event, Lock, Thread, local
from typing import Any

from moto.ec2.models import instances as ec2_instances
from moto.ec2.models.subnets import Subnet
from moto.ec2.utils import random_instance_id

from iot_sandbox.aws import kubernetes
from iot_sandbox.aws.settings import KubernetesNode

log = logging.getLogger(__name__)
RETRY_SECONDS = 2.0
_forced = local()


def instance_id(cluster_name: str, node_name: str) -> str:
    """The instance id of a node: always the same, since Kubernetes never lets a node's providerID change."""
    return f"i-{hashlib.sha256(f'{cluster_name}/{node_name}'.encode()).hexdigest()[:17]}"


def _chosen_instance_id() -> str:
    return getattr(_forced, "instance_id", None) or random_instance_id()


# moto has no way to choose an instance's id; it calls this name whenever an instance starts.
vars(ec2_instances)["random_instance_id"] = _chosen_instance_id


@dataclass(frozen=True)
class NodeInstance:
    """A node and the instance that stands for it."""

    node_name: str
    zone: str
    instance_id: str

    @property
    def provider_id(self) -> str:
        """`spec.providerID` as AWS's cloud controller writes it."""
        return f"aws:///{self.zone}/{self.instance_id}"


def run_instance(
    ec2: Any,
    cluster_name: str,
    node: KubernetesNode,
    *,
    subnets: Sequence[Subnet],
    security_group_ids: Sequence[str],
    instance_type: str,
    tags: dict[str, str],
    image_id: str = "",
    identity: str = "",
) -> NodeInstance:
    """Run the node's instance in the subnet that holds its pod range; its interface gets those addresses.

    Without image or identity, the instance has Amazon's first image and the id that the node always has.
    """
    subnet = _subnet_for(node, subnets)
    identity = identity or instance_id(cluster_name, node.name)
    _forget_instance(ec2, identity)
    _forced.instance_id = identity
    try:
        reservation = ec2.run_instances(
            image_id or ec2.describe_images(owners=["amazon"])[0].id,
            1,
            None,
            [],
            security_group_ids=list(security_group_ids),
            instance_type=instance_type,
            is_instance_type_default=False,
            subnet_id=subnet.id,
            region_name=ec2.region_name,
            placement=subnet.availability_zone,
            private_ip=_host_address(node, subnet),
            tags={"instance": {**tags, "Name": node.name}},
        )
    finally:
        _forced.instance_id = None
    instance = reservation.instances[0]
    ec2.assign_private_ip_addresses(instance.nics[0].id, [str(address) for address in node.pod_range.hosts()])
    return NodeInstance(node.name, subnet.availability_zone, instance.id)


def _forget_instance(ec2: Any, identity: str) -> None:
    """Drop what an earlier node group had: an id must not be found twice, and EC2 forgets within the hour, too."""
    for number, reservation in list(ec2.reservations.items()):
        if [instance.id for instance in reservation.instances] == [identity]:
            del ec2.reservations[number]


def _subnet_for(node: KubernetesNode, subnets: Sequence[Subnet]) -> Subnet:
    holding = [s for s in subnets if node.pod_range.subnet_of(IPv4Network(s.cidr_block))]
    same_zone = [s for s in subnets if s.availability_zone == node.zone]
    if not holding:
        log.warning("no subnet of the node group holds pod range %s of node %s", node.pod_range, node.name)
    return (holding or same_zone or list(subnets))[0]


def _host_address(node: KubernetesNode, subnet: Subnet) -> str:
    """An address for the instance itself that no pod can have: the highest one free outside the pod range."""
    network = IPv4Network(subnet.cidr_block)
    taken = vars(subnet)["_subnet_ips"]
    number = next(n for n in range(-2, -network.num_addresses, -1)
                  if network[n] not in node.pod_range and str(network[n]) not in taken)  # fmt: skip
    return str(network[number])


class ProviderIds:
    """Writes each node's `spec.providerID`, as AWS's cloud controller does; tries until the cluster is up."""

    def __init__(
        self,
        kubeconfig: Path,
        load: Callable[[Path], kubernetes.Cluster] = kubernetes.load,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._kubeconfig = kubeconfig
        self._load = load
        self._retry_seconds = retry_seconds
        self._wanted: dict[str, NodeInstance] = {}
        self._lock = Lock()
        self._changed = Event()
        Thread(target=self._run, name="provider-ids", daemon=True).start()

    def add(self, instances: Sequence[NodeInstance]) -> None:
        """Queue these nodes."""
        with self._lock:
            self._wanted.update({i.node_name: i for i in instances})
        self._changed.set()

    def pending(self) -> list[str]:
        """Names of the nodes that are not identified yet."""
        with self._lock:
            return sorted(self._wanted)

    def _run(self) -> None:
        while self._changed.wait():
            self._changed.clear()
            while self.pending():
                self._try_all()
                if self.pending():
                    time.sleep(self._retry_seconds)

    def _try_all(self) -> None:
        with self._lock:
            wanted = list(self._wanted.values())
        for instance in wanted:
            try:
                done = identify(self._load(self._kubeconfig), instance)
            except kubernetes.KubernetesError as error:
                log.debug("node %s waits for its providerID: %s", instance.node_name, error)
                continue
            if done:
                with self._lock:
                    if self._wanted.get(instance.node_name) == instance:
                        del self._wanted[instance.node_name]


def identify(cluster: kubernetes.Cluster, instance: NodeInstance) -> bool:
    """Write one node's providerID and the zone labels of AWS's cloud controller.

    True when nothing is left to do. Raises KubernetesError when the cluster does not answer or the node
    is not there yet.
    """
    path = f"/api/v1/nodes/{instance.node_name}"
    node = cluster.call("GET", path)
    present = node["spec"].get("providerID", "")
    if present and present != instance.provider_id:
        log.error(
            "node %s has providerID %s, wanted %s: delete the node and restart its kubelet",
            instance.node_name,
            present,
            instance.provider_id,
        )
        return True
    labels = {
        "topology.kubernetes.io/zone": instance.zone,
        "topology.kubernetes.io/region": instance.zone.rstrip("abcdefghijklmnopqrstuvwxyz"),
    }
    have = node["metadata"].get("labels", {})
    if present and all(have.get(k) == v for k, v in labels.items()):
        return True
    patch = {"metadata": {"labels": labels}, "spec": {"providerID": instance.provider_id}}
    cluster.call("PATCH", path, patch, "application/merge-patch+json")
    log.info("node %s is %s", instance.node_name, instance.provider_id)
    return True
