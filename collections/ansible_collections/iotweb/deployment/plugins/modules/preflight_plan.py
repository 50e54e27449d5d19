#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: preflight_plan
version_added: 2.0.0
short_description: Compare a plan with the account's quotas, and add up what it costs
description:
  - Reads a plan of Terraform, and asks Service Quotas how many vCPU and elastic addresses the account may have, and EC2
    how many are in use.
  - A cluster's version, and limits of a node group, that EKS would refuse are faults, too.
  - Changes nothing, and never fails for what it finds. Each fault is returned with its fix.
  - What could not be asked is a note.
author:
  - IoT receiver contributors (@iotweb)
options:
  chdir:
    description: Folder Terraform works in.
    type: path
    required: true
  executable:
    description: Terraform's program.
    type: str
    default: terraform
  plan:
    description: The plan's file.
    type: str
    required: true
  region:
    description: Region to ask in.
    type: str
    required: true
  prices:
    description:
      - Prices in USD.
      - By hour are C(control_plane), C(nat_gateway), C(load_balancer), C(public_address) and C(instances) (by type).
      - By month are C(disk_gib), C(key), C(secret) and C(alarm). C(log_gb) is for a GB of logs.
    type: dict
    required: true
  volume_gib:
    description: Size of the volume that Prometheus asks the cluster for.
    type: float
    default: 0
  added_nodes:
    description: The most nodes that Karpenter adds, those that run included.
    type: int
    default: 0
  added_types:
    description: Instance types that it may choose from.
    type: list
    elements: str
    default: []
  node_pool:
    description: Its NodePool, with which the nodes that run are tagged.
    type: str
    default: ""
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
"""

EXAMPLES = r"""
- name: Compare the plan with quotas and prices
  iotweb.deployment.preflight_plan:
    chdir: /var/lib/deployment/terraform
    plan: plan.tfplan
    region: us-east-2
    prices: {control_plane: 0.1, instances: {m6i.large: 0.096}}
"""

RETURN = r"""
faults:
  description: One sentence for each fault, with its fix.
  type: list
  elements: str
  returned: always
notes:
  description: What could not be checked.
  type: list
  elements: str
  returned: always
costs:
  description: Lines of an aligned table, what the planned resources cost a month before any traffic.
  type: list
  elements: str
  returned: always
zone_name_servers:
  description: Name servers of the domain's zone in Route 53; empty if its DNS is elsewhere.
  type: list
  elements: str
  returned: always
creates_cluster:
  description: Whether the plan makes the cluster.
  type: bool
  returned: always
"""

import re
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.iotweb.deployment.plugins.module_utils.preflight import IMPATIENT
from ansible_collections.iotweb.deployment.plugins.module_utils.terraform_plan import (
    PLAN_OPTIONS,
    Values,
    changes,
    read_plan,
)

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    HAS_BOTO3 = False
else:
    HAS_BOTO3 = True


HOURS = 730  # of a month, as AWS's price calculator counts
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances.html#ec2-on-demand-instances-limits
STANDARD = re.compile(r"(a|c|d|h|i|im|is|m|r|t|z)\d")
CPUS = "L-1216C47A"
ADDRESSES = "L-0263D0A3"
# What each counts, and what to do instead of asking for more.
QUOTAS = {
    CPUS: ("vCPU", "lower node_count or karpenter_max_nodes, or choose smaller node_instance_types"),
    ADDRESSES: ("elastic addresses", "set nat_gateways: single in stack_differences"),
}


def resources(module: Values, mode: str = "managed") -> Iterator[Values]:
    """Every resource of a module and those below it, `managed` or read as `data`."""
    yield from (each for each in module.get("resources", []) if each.get("mode", "managed") == mode)
    for child in module.get("child_modules", []):
        yield from resources(child, mode)


def name_servers(plan: Values) -> list[str]:
    """Name servers of the zone that the plan has read."""
    read = resources(plan.get("prior_state", {}).get("values", {}).get("root_module", {}), "data")
    zones = [each["values"] for each in read if each["type"] == "aws_route53_zone"]
    return [server.rstrip(".").lower() for zone in zones for server in zone.get("name_servers") or []]


def minor(version: str) -> int:
    """1.35 -> 35."""
    return int(version.split(".")[1])


def version_faults(plan: Values) -> Iterator[str]:
    """Steps of the cluster's version that EKS refuses: only one minor version up at a time, and never down."""
    for change in changes(plan, "aws_eks_cluster", "update") + changes(plan, "aws_eks_cluster", "delete"):
        before, after = (change["before"] or {}).get("version"), (change["after"] or {}).get("version")
        if not before or not after:
            continue
        step = minor(after) - minor(before)
        if step > 1:
            yield (
                f"cluster_version is {after}, but the cluster runs {before}, and EKS goes up one minor version at a"
                f" time. Set cluster_version to 1.{minor(before) + 1}, run site.yml --tags terraform, then"
                f" playbooks/verify.yml, and go on so up to {after}."
            )
        elif step < 0:
            yield (
                f"cluster_version is {after}, but the cluster runs {before}, and EKS never goes down. At the end of"
                f" standard support it upgrades a cluster by itself. Set cluster_version to {before}."
            )


def size_faults(plan: Values, region: str) -> Iterator[str]:
    """Limits of a node group that exclude the number of nodes that it has, which Terraform leaves alone.

    https://github.com/terraform-aws-modules/terraform-aws-eks/issues/3306
    """
    for change in changes(plan, "aws_eks_node_group", "update"):
        group, [size] = change["after"], change["after"]["scaling_config"]
        least, most, present = size["min_size"], size["max_size"], size["desired_size"]
        if not least <= present <= most:
            name, cluster = group["node_group_name"], group["cluster_name"]
            yield (
                f"node_count is from {least} to {most}, but node group {name} has {present} nodes, and EKS refuses"
                " limits that exclude them. Set their number first, and run this again: aws eks update-nodegroup-config"
                f" --cluster-name {cluster} --nodegroup-name {name} --scaling-config"
                f" minSize={least},maxSize={most},desiredSize={min(max(present, least), most)} --region {region}"
            )


def vcpus(ec2: Any, types: set[str]) -> dict[str, int]:
    """vCPU by instance type."""
    if not types:
        return {}
    pages = ec2.get_paginator("describe_instance_types").paginate(InstanceTypes=sorted(types))
    return {each["InstanceType"]: each["VCpuInfo"]["DefaultVCpus"] for page in pages for each in page["InstanceTypes"]}


def running(ec2: Any) -> list[Values]:
    """The on-demand instances that count against the quota of the standard families."""
    filters = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
    return [
        instance
        for page in pages
        for reservation in page["Reservations"]
        for instance in reservation["Instances"]
        if STANDARD.match(instance["InstanceType"]) and instance.get("InstanceLifecycle") is None
    ]


def quota(session: Any, code: str) -> int:
    """What the account may have of one of EC2's quotas."""
    client = session.client("service-quotas", config=Config(**IMPATIENT))
    return int(client.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"])


def short(code: str, allowed: int, used: int, needed: int, region: str, *, more: str = "") -> Iterator[str]:
    """What is wrong with a quota, and the fix; nothing if it suffices."""
    what, instead = QUOTAS[code]
    if used + needed > allowed:
        yield (
            f"The plan needs {needed} {what}{more}, {used} are in use, and the account may have {allowed} in {region}"
            f" (quota {code}). Ask for more: aws service-quotas request-service-quota-increase --service-code ec2"
            f" --quota-code {code} --desired-value {used + needed} --region {region}. Or {instead}."
        )


def address_faults(plan: Values, session: Any, wanted: Values) -> Iterator[str]:
    """Elastic addresses, one for each NAT gateway."""
    if needed := len(changes(plan, "aws_eip", "create")):
        used = len(session.client("ec2", config=Config(**IMPATIENT)).describe_addresses()["Addresses"])
        yield from short(ADDRESSES, quota(session, ADDRESSES), used, needed, wanted["region"])


def cpu_faults(plan: Values, session: Any, wanted: Values) -> Iterator[str]:
    """vCPU of the node groups that are made and of what Karpenter may add; of several types, the largest counts."""
    groups = [change["after"] for change in changes(plan, "aws_eks_node_group", "create")]
    sets = [(group["scaling_config"][0]["desired_size"], group["instance_types"]) for group in groups]
    added = wanted["added_nodes"]
    sets += [(added, wanted["added_types"])] if added else []
    types = {name for count, names in sets for name in names if STANDARD.match(name)}
    if not types:
        return
    ec2 = session.client("ec2", config=Config(**IMPATIENT))
    present = running(ec2)
    sizes = vcpus(ec2, types | {each["InstanceType"] for each in present})
    needed = sum(count * max(sizes.get(name, 0) for name in names) for count, names in sets)
    tag = {"Key": "karpenter.sh/nodepool", "Value": wanted["node_pool"]}
    used = sum(sizes[each["InstanceType"]] for each in present if not added or tag not in each.get("Tags", []))
    more = f" with the {added} nodes that Karpenter may add" if added else ""
    yield from short(CPUS, quota(session, CPUS), used, needed, wanted["region"], more=more)


def costs(plan: Values, prices: Values, volume_gib: float) -> list[str]:
    """A line for each kind of resource that costs by the month, and their sum; then what only traffic decides."""
    planned = list(resources(plan["planned_values"]["root_module"]))

    def of(kind: str) -> list[Values]:
        return [each["values"] for each in planned if each["type"] == kind]

    lines: list[tuple[str, float | None]] = []

    def add(name: str, count: float, price: float | None) -> None:
        if count:
            lines.append((name, None if price is None else count * price))

    add("control plane", len(of("aws_eks_cluster")), prices["control_plane"] * HOURS)
    nodes = 0
    for group in of("aws_eks_node_group"):
        count, kind = group["scaling_config"][0]["desired_size"], group["instance_types"][0]
        hourly = prices["instances"].get(kind)
        add(f"{count} nodes {kind}", count, None if hourly is None else hourly * HOURS)
        nodes += count
    disk = sum(d["ebs"][0]["volume_size"] for t in of("aws_launch_template") for d in t["block_device_mappings"])
    add(f"{nodes} disks of {disk} GiB", nodes * disk, prices["disk_gib"])
    add(f"Prometheus' volume of {volume_gib:g} GiB", volume_gib, prices["disk_gib"])
    gateways = len(of("aws_nat_gateway"))
    add(f"{gateways} NAT gateway{'s' if gateways > 1 else ''}", gateways, prices["nat_gateway"] * HOURS)
    public = [s for s in of("aws_subnet") if "kubernetes.io/role/elb" in (s.get("tags") or {})]
    add("load balancer", bool(public), prices["load_balancer"] * HOURS)
    addresses = len(of("aws_eip")) + len(public)  # the load balancer has one in each zone
    add(f"{addresses} public addresses", addresses, prices["public_address"] * HOURS)
    add("keys, secret, alarms", 1, len(of("aws_kms_key")) * prices["key"]
        + len(of("aws_secretsmanager_secret")) * prices["secret"]
        + len(of("aws_cloudwatch_metric_alarm")) * prices["alarm"])  # fmt: skip
    amounts = [amount for name, amount in lines]
    lines.append(("at least" if None in amounts else "together", sum(amount or 0 for amount in amounts)))
    if any(cluster.get("enabled_cluster_log_types") for cluster in of("aws_eks_cluster")):
        lines.append(("and each GB of the cluster's logs", prices["log_gb"]))
    width = max(len(line[0]) for line in lines)
    return [f"{name:<{width}}  {'not in the table' if amount is None else f'{amount:7.2f}'}" for name, amount in lines]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **PLAN_OPTIONS,
            "prices": {"type": "dict", "required": True},
            "volume_gib": {"type": "float", "default": 0},
            "added_nodes": {"type": "int", "default": 0},
            "added_types": {"type": "list", "elements": "str", "default": []},
            "node_pool": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if not HAS_BOTO3:
        module.fail_json(msg=missing_required_lib("boto3"))
    wanted, plan = module.params, read_plan(module)
    faults, notes = [*version_faults(plan), *size_faults(plan, wanted["region"])], []
    session = boto3.session.Session(region_name=wanted["region"])
    for code, check in ((CPUS, cpu_faults), (ADDRESSES, address_faults)):
        try:
            faults += check(plan, session, wanted)
        except (BotoCoreError, ClientError) as error:
            notes.append(f"Whether the account may have so many {QUOTAS[code][0]} could not be checked: {error}")
    module.exit_json(
        changed=False,
        faults=faults,
        notes=notes,
        costs=costs(plan, wanted["prices"], wanted["volume_gib"]),
        zone_name_servers=name_servers(plan),
        creates_cluster=bool(changes(plan, "aws_eks_cluster", "create")),
    )


if __name__ == "__main__":
    main()
