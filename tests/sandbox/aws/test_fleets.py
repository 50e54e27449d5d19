"""A fleet launches nodes for an autoscaler as EC2 does: into a zone that has room, and until they are terminated."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.emulator import Emulator, running
from tests.support.certificates import Authority
from tests.support.waiting import until

pytestmark = pytest.mark.long
NODE_CONFIG = """\
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="//"

--//
Content-Type: application/node.eks.aws

apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  cluster: {name: scaled, apiServerEndpoint: "https://cluster.test"}
  kubelet:
    config:
      clusterDNS: [172.20.0.10]
      maxPods: 29
      registerWithTaints: [{key: karpenter.sh/unregistered, effect: NoExecute}]
    flags: ['--node-labels="karpenter.sh/nodepool=scaled,karpenter.sh/capacity-type=on-demand"']
--//--
"""
RUNNING = [{"Name": "instance-state-name", "Values": ["running"]}]
BOOT = """#!/bin/sh
trap 'rm "{folder}/running"; exit' TERM
touch "{folder}/running"
while :; do sleep 0.05; done
"""


@dataclass
class Account:
    """An emulated account with one spare node, in the first of two zones."""

    aws: Emulator
    node: Path
    subnets: dict[str, str]

    def launch(self, *zones: str, count: int = 1, **more: Any) -> dict[str, Any]:
        """CreateFleet of so many instances with a choice of zones, in this order."""
        choices = [
            {"SubnetId": self.subnets[zone], "InstanceType": "m6i.large", "Priority": number}
            for number, zone in enumerate(zones)
        ]
        answer: dict[str, Any] = self.aws.client("ec2").create_fleet(
            Type="instant",
            LaunchTemplateConfigs=[
                {"LaunchTemplateSpecification": {"LaunchTemplateName": "scaled", "Version": "$Latest"},
                 "Overrides": choices}
            ],
            TargetCapacitySpecification={"TotalTargetCapacity": count, "DefaultTargetCapacityType": "on-demand"},
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "karpenter.sh/nodepool", "Value": "x"}]}],
            **more,
        )  # fmt: skip
        return answer


@pytest.fixture(name="account")
def _account(tmp_path: Path, aws_authority: Authority) -> Iterator[Account]:
    node = tmp_path / "node-3"
    node.mkdir()
    (node / "boot").write_text(BOOT.format(folder=node))
    (node / "boot").chmod(0o755)
    spare = [{"name": "node-3", "zone": "us-east-2a", "pod_range": "10.1.1.0/28", "folder": str(node)}]
    with running(tmp_path, aws_authority, SPARE_NODES=json.dumps(spare)) as aws:
        ec2 = aws.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
        ranges = {"us-east-2a": "10.1.0.0/20", "us-east-2b": "10.1.16.0/20"}
        made = {z: ec2.create_subnet(VpcId=vpc, CidrBlock=r, AvailabilityZone=z) for z, r in ranges.items()}
        subnets = {zone: subnet["Subnet"]["SubnetId"] for zone, subnet in made.items()}
        group = ec2.create_security_group(GroupName="nodes", Description="nodes", VpcId=vpc)["GroupId"]
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
        ec2.create_launch_template(
            LaunchTemplateName="scaled",
            LaunchTemplateData={
                "ImageId": image,
                "UserData": base64.b64encode(NODE_CONFIG.encode()).decode(),
                "NetworkInterfaces": [{"DeviceIndex": 0, "Groups": [group]}],
            },
        )
        yield Account(aws, node, subnets)
        found = ec2.describe_instances(Filters=RUNNING)["Reservations"]
        if found:
            ec2.terminate_instances(InstanceIds=[i["InstanceId"] for each in found for i in each["Instances"]])
        until(lambda: not (node / "running").exists())


def test_a_launched_instance_is_a_spare_node_until_it_is_terminated(account: Account) -> None:
    ec2 = account.aws.client("ec2")
    [launched] = account.launch("us-east-2a")["Instances"]
    [instance_id] = launched["InstanceIds"]
    [instance] = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"]
    interface = instance["NetworkInterfaces"][0]
    assert "10.1.1.14" in {each["PrivateIpAddress"] for each in interface["PrivateIpAddresses"]}
    assert [each["GroupName"] for each in interface["Groups"]] == ["nodes"]
    assert {"Key": "karpenter.sh/nodepool", "Value": "x"} in instance["Tags"]
    kubelet = json.loads((account.node / "launch/instance.conf").read_text())
    assert kubelet["providerID"] == f"aws:///us-east-2a/{instance_id}"
    assert kubelet["registerWithTaints"] == [{"key": "karpenter.sh/unregistered", "effect": "NoExecute"}]
    assert kubelet["maxPods"] == 29
    assert "clusterDNS" not in kubelet  # this machine's own stays
    labels = (account.node / "launch/labels").read_text()
    assert labels == "karpenter.sh/nodepool=scaled,karpenter.sh/capacity-type=on-demand"
    until((account.node / "running").exists)
    ec2.terminate_instances(InstanceIds=[instance_id])
    until(lambda: not (account.node / "running").exists())
    until(lambda: bool(account.launch("us-east-2a")["Instances"]))  # the node is spare again


def test_a_zone_without_room_is_an_error_and_the_next_choice_is_taken(account: Account) -> None:
    answer = account.launch("us-east-2b", "us-east-2a")
    [error] = answer["Errors"]
    assert error["ErrorCode"] == "InsufficientInstanceCapacity"
    assert "sufficient m6i.large capacity in the Availability Zone you requested (us-east-2b)" in error["ErrorMessage"]
    assert error["LaunchTemplateAndOverrides"]["Overrides"]["SubnetId"] == account.subnets["us-east-2b"]
    assert len(answer["Instances"]) == 1
    assert account.launch("us-east-2a")["Instances"] == []


def test_a_node_whose_launch_failed_is_spare_again(account: Account) -> None:
    boot = account.node / "boot"
    boot.rename(account.node / "boot.away")
    with pytest.raises(ClientError, match="InternalFailure"):
        account.launch("us-east-2a")
    (account.node / "boot.away").rename(boot)
    assert len(account.launch("us-east-2a")["Instances"]) == 1


def test_a_fleet_launches_as_many_as_there_is_room_for(account: Account) -> None:
    answer = account.launch("us-east-2a", count=2)
    assert len(answer["Instances"]) == 1
    assert [each["ErrorCode"] for each in answer["Errors"]] == ["InsufficientInstanceCapacity"]


def test_what_a_node_leaves_running_is_killed(account: Account) -> None:
    stubborn = f'#!/bin/sh\ntrap "" TERM\n(while :; do touch "{account.node}/alive"; sleep 0.1; done) &\nexit\n'
    (account.node / "boot").write_text(stubborn)
    [launched] = account.launch("us-east-2a")["Instances"]
    until((account.node / "alive").exists)
    for _ in range(2):
        account.aws.client("ec2").terminate_instances(InstanceIds=launched["InstanceIds"])
    until(lambda: bool(account.launch("us-east-2a")["Instances"]))

    def is_dead() -> bool:
        (account.node / "alive").unlink(missing_ok=True)
        time.sleep(0.3)
        return not (account.node / "alive").exists()

    [again] = account.aws.client("ec2").describe_instances(Filters=RUNNING)["Reservations"]
    account.aws.client("ec2").terminate_instances(InstanceIds=[again["Instances"][0]["InstanceId"]])
    until(is_dead)


def test_a_dry_run_launches_nothing(account: Account) -> None:
    with pytest.raises(ClientError, match="DryRunOperation"):
        account.launch("us-east-2a", DryRun=True)
    assert not (account.node / "launch").exists()


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_public_parameters_name_an_image_of_these_processors(aws: Emulator, architecture: str) -> None:
    name = f"/aws/service/eks/optimized-ami/1.36/amazon-linux-2023/{architecture}/standard/recommended/image_id"
    image = aws.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    [found] = aws.client("ec2").describe_images(ImageIds=[image])["Images"]
    assert found["Architecture"] == architecture
