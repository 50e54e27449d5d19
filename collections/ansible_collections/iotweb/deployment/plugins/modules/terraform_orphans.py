#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: terraform_orphans
version_added: 2.0.0
short_description: Find what a plan would create although it exists
description:
  - Looks for what a plan is about to create among the resources in AWS that have this deployment's tags.
  - Terraform loses a resource when it is killed, or when the answer to its request is lost after AWS has carried it
    out. The next run would then fail on every name or address range that is taken.
  - The log group that EKS makes anew for the last lines of a deleted cluster has no tags, and is taken over.
  - Whatever else exists under a planned name without these tags belongs to somebody else. Some services would refuse to
    create it, others (SQS, CloudWatch alarms) would let Terraform take it over unasked.
  - Changes nothing.
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
  deployment:
    description: Value of the tag Deployment; what does not carry it is somebody else's.
    type: str
    required: true
  adopt:
    description: Whether what has no tag Deployment at all is imported, too.
    type: bool
    default: false
  region:
    description: Region to look in.
    type: str
    required: true
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
"""

EXAMPLES = r"""
- name: Look for resources that an interrupted run created
  iotweb.deployment.terraform_orphans:
    chdir: /var/lib/deployment/terraform
    plan: plan.tfplan
    deployment: iot-receiver
    region: us-east-2
"""

RETURN = r"""
imports:
  description: What to import, as members C(to) (address) and C(id) of Terraform's import blocks.
  type: list
  elements: dict
  returned: always
foreign:
  description: Which planned names belong to somebody else, each as a sentence.
  type: list
  elements: str
  returned: always
  sample: ["/aws/eks/prod/cluster (module.stack.aws_cloudwatch_log_group.cluster) has no tag Deployment"]
halfway:
  description: Node groups that a killed run had made beside those they replace, each as a sentence with its fix.
  type: list
  elements: str
  returned: always
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.iotweb.deployment.plugins.module_utils.terraform_plan import (
    PLAN_OPTIONS,
    Values,
    changes,
    read_plan,
)

try:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:
    HAS_BOTO3 = False
else:
    HAS_BOTO3 = True


NAMES = ("name", "alarm_name", "node_group_name", "url")  # of the attributes that name a resource
# What is found by its tags alone: the call that lists it, the answer's member, and its id there.
TAGGED = {
    "aws_eip": ("describe_addresses", "Addresses", "AllocationId"),
    "aws_internet_gateway": ("describe_internet_gateways", "InternetGateways", "InternetGatewayId"),
    "aws_nat_gateway": ("describe_nat_gateways", "NatGateways", "NatGatewayId"),
    "aws_route_table": ("describe_route_tables", "RouteTables", "RouteTableId"),
    "aws_subnet": ("describe_subnets", "Subnets", "SubnetId"),
    "aws_vpc": ("describe_vpcs", "Vpcs", "VpcId"),
    "aws_vpc_endpoint": ("describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
}
# https://docs.aws.amazon.com/eks/latest/userguide/control-plane-logs.html
CONTROL_PLANE_LOGS = re.compile(r"/aws/eks/(.+)/cluster")
CONTROL_PLANE_STREAMS = ("authenticator-", "cloud-controller-manager-", "kube-")
ABSENT = {
    "AWS.SimpleQueueService.NonExistentQueue",
    "InvalidLaunchTemplateName.NotFoundException",
    "NoSuchEntity",
    "NoSuchEntityException",
    "ResourceNotFoundException",
}


class ForeignError(Exception):
    """It exists and belongs to somebody else; the text says to whom."""


class Account:
    """What exists in one account and region for one deployment."""

    def __init__(self, session: Any, deployment: str, adopt: bool = False) -> None:
        self._client = session.client
        self._deployment = deployment
        self._adopt = adopt
        self._tagged = cache(self._look_up_tagged)

    def find(self, kind: str, values: Values, taken: set[str]) -> str | None:
        """The import id of a planned resource of this kind, if it exists; never one of the ids taken.

        Raises ForeignError where it exists and is somebody else's.
        """
        if kind in TAGGED:
            return self._by_tags(kind, values, taken)
        finder: Callable[[Values], str | None] | None = getattr(self, f"_{kind}", None)
        if finder is None:
            return None
        try:
            return finder(values)
        except ClientError as error:
            if error.response["Error"]["Code"] in ABSENT:
                return None
            raise

    @staticmethod
    def _owner(tags: Any) -> str | None:
        """The deployment that tags (in either of AWS's two forms) name."""
        if isinstance(tags, list):
            tags = {tag.get("Key", tag.get("key")): tag.get("Value", tag.get("value")) for tag in tags}
        return (tags or {}).get("Deployment")

    def _mine(self, identifier: str, tags: Any) -> str:
        """The identifier of what has a name that is to be created. Raises ForeignError."""
        owner = self._owner(tags)
        if owner == self._deployment or (owner is None and self._adopt):
            return identifier
        raise ForeignError(f"belongs to deployment {owner}" if owner else "has no tag Deployment")

    def _by_tags(self, kind: str, values: Values, taken: set[str]) -> str | None:
        name = (values.get("tags") or {}).get("Name", "")
        found = self._tagged(kind).get(name, set()) - taken
        return found.pop() if len(found) == 1 else None  # of several, none is certain

    def _look_up_tagged(self, kind: str) -> dict[str, set[str]]:
        """The ids of a kind's resources by their tag Name. DescribeTags would list deleted ones, too."""
        call, listed, identifier = TAGGED[kind]
        answer = getattr(self._client("ec2"), call)(
            Filters=[{"Name": "tag:Deployment", "Values": [self._deployment]}]
        )
        found: dict[str, set[str]] = {}
        for each in answer[listed]:
            tags = {tag["Key"]: tag["Value"] for tag in each["Tags"]}
            if each.get("State", "available").lower() in {"pending", "available"}:
                found.setdefault(tags.get("Name", ""), set()).add(each[identifier])
        return found

    def _aws_route_table_association(self, values: Values) -> str | None:
        subnet = values.get("subnet_id")
        if not subnet:
            return None
        filters = [{"Name": "association.subnet-id", "Values": [subnet]}]
        tables = self._client("ec2").describe_route_tables(Filters=filters)["RouteTables"]
        ours = tables and self._owner(tables[0].get("Tags")) == self._deployment
        return f"{subnet}/{tables[0]['RouteTableId']}" if ours else None

    def _aws_launch_template(self, values: Values) -> str | None:
        answer = self._client("ec2").describe_launch_templates(LaunchTemplateNames=[values["name"]])
        found = answer["LaunchTemplates"]
        return self._mine(found[0]["LaunchTemplateId"], found[0].get("Tags")) if found else None

    def _aws_iam_role(self, values: Values) -> str | None:
        role = self._client("iam").get_role(RoleName=values["name"])["Role"]
        return self._mine(role["RoleName"], role.get("Tags"))

    def _aws_iam_instance_profile(self, values: Values) -> str | None:
        profile = self._client("iam").get_instance_profile(InstanceProfileName=values["name"])["InstanceProfile"]
        return self._mine(profile["InstanceProfileName"], profile.get("Tags"))

    def _aws_iam_openid_connect_provider(self, values: Values) -> str | None:
        iam, host = self._client("iam"), values.get("url", "").removeprefix("https://")
        for provider in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]:
            arn: str = provider["Arn"]
            if host and arn.endswith("oidc-provider/" + host):
                tags = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn).get("Tags")
                return self._mine(arn, tags)
        return None

    def _aws_cloudwatch_log_group(self, values: Values) -> str | None:
        logs, name = self._client("logs"), values["name"]
        for group in logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]:
            if group["logGroupName"] == name:
                tags = logs.list_tags_for_resource(resourceArn=group["arn"].removesuffix(":*"))["tags"]
                return name if not tags and self._made_anew(group) else self._mine(name, tags)
        return None

    def _made_anew(self, group: Values) -> bool:
        """Whether EKS made a deleted cluster's log group anew for its last lines: nobody's, though it has no tag."""
        found, name = CONTROL_PLANE_LOGS.fullmatch(group["logGroupName"]), group["logGroupName"]
        if not found or "retentionInDays" in group:
            return False
        streams = self._client("logs").describe_log_streams(logGroupName=name)["logStreams"]
        if not streams or not all(each["logStreamName"].startswith(CONTROL_PLANE_STREAMS) for each in streams):
            return False
        try:
            self._client("eks").describe_cluster(name=found[1])
        except ClientError as error:
            if error.response["Error"]["Code"] in ABSENT:
                return True
            raise
        return False

    def _aws_eks_cluster(self, values: Values) -> str | None:
        cluster = self._client("eks").describe_cluster(name=values["name"])["cluster"]
        return self._mine(values["name"], cluster.get("tags"))

    def _aws_eks_node_group(self, values: Values) -> str | None:
        cluster, name = values["cluster_name"], values["node_group_name"]
        answer = self._client("eks").describe_nodegroup(clusterName=cluster, nodegroupName=name)
        return self._mine(f"{cluster}:{name}", answer["nodegroup"].get("tags"))

    def _aws_dynamodb_table(self, values: Values) -> str | None:
        dynamodb, name = self._client("dynamodb"), values["name"]
        arn = dynamodb.describe_table(TableName=name)["Table"]["TableArn"]
        return self._mine(name, dynamodb.list_tags_of_resource(ResourceArn=arn)["Tags"])

    def _aws_secretsmanager_secret(self, values: Values) -> str | None:
        secret = self._client("secretsmanager").describe_secret(SecretId=values["name"])
        arn = self._mine(secret["ARN"], secret.get("Tags"))
        return None if "DeletedDate" in secret else arn

    def _aws_sqs_queue(self, values: Values) -> str | None:
        sqs = self._client("sqs")
        url: str = sqs.get_queue_url(QueueName=values["name"])["QueueUrl"]
        return self._mine(url, sqs.list_queue_tags(QueueUrl=url).get("Tags"))

    def _aws_cloudwatch_metric_alarm(self, values: Values) -> str | None:
        cloudwatch, name = self._client("cloudwatch"), values["alarm_name"]
        for alarm in cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]:
            return self._mine(name, cloudwatch.list_tags_for_resource(ResourceARN=alarm["AlarmArn"])["Tags"])
        return None


def ids(module: Values) -> Iterator[str]:
    """The ids of everything in a state's module and those below it."""
    for resource in module.get("resources", []):
        if resource["values"].get("id"):
            yield resource["values"]["id"]
    for child in module.get("child_modules", []):
        yield from ids(child)


def existing(plan: Values, account: Account) -> tuple[list[dict[str, str]], list[str]]:
    """What the plan would create although it exists: ours as import blocks, others' as sentences."""
    taken = set(ids(plan.get("prior_state", {}).get("values", {}).get("root_module", {})))
    imports, foreign = [], []
    for resource in plan.get("resource_changes", []):
        if resource["mode"] != "managed" or resource["change"]["actions"] != ["create"]:
            continue
        values = resource["change"]["after"]
        try:
            identifier = account.find(resource["type"], values, taken)
        except ForeignError as owner:
            name = next(values[key] for key in NAMES if values.get(key))
            foreign.append(f"{name} ({resource['address']}) {owner}")
        else:
            if identifier:
                imports.append({"to": resource["address"], "id": identifier})
    return imports, foreign


def halfway(plan: Values, account: Account) -> list[str]:
    """Node groups that a killed run had made beside those that they replace: a state has room for one of them only."""
    found = []
    for change in changes(plan, "aws_eks_node_group", "create"):
        if change["actions"] != ["create", "delete"]:
            continue
        values = change["after"]
        try:
            exists = account.find("aws_eks_node_group", values, set()) is not None
        except ForeignError:
            exists = True
        if exists:
            group = f"--cluster-name {values['cluster_name']} --nodegroup-name {values['node_group_name']}"
            found.append(
                f"Node group {values['node_group_name']} exists already: a run was killed while it replaced the"
                f" nodes. Delete it, and run again: aws eks delete-nodegroup {group} && aws eks wait"
                f" nodegroup-deleted {group}"
            )
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **PLAN_OPTIONS,
            "deployment": {"type": "str", "required": True},
            "adopt": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if not HAS_BOTO3:
        module.fail_json(msg=missing_required_lib("boto3"))
    wanted, plan = module.params, read_plan(module)
    account = Account(boto3.session.Session(region_name=wanted["region"]), wanted["deployment"], wanted["adopt"])
    try:
        imports, foreign = existing(plan, account)
        left = halfway(plan, account)
    except (BotoCoreError, ClientError) as error:
        module.fail_json(msg=f"Cannot look for what exists under the plan's names: {error}")
    module.exit_json(changed=False, imports=imports, foreign=foreign, halfway=left)


if __name__ == "__main__":
    main()
