"""Quotas of a fresh account: what Service Quotas says, and what is refused above them."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.emulator import Emulator, running
from tests.support.certificates import Authority


@pytest.mark.parametrize(
    ("code", "name"), [("L-1216C47A", "Running On-Demand Standard"), ("L-0263D0A3", "Elastic IPs")]
)
def test_a_fresh_account_has_five(aws: Emulator, code: str, name: str) -> None:
    quotas = aws.client("service-quotas")
    found = quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]
    assert (found["QuotaCode"], found["Value"], found["Adjustable"]) == (code, 5.0, True)
    assert name in found["QuotaName"]
    assert found in quotas.list_aws_default_service_quotas(ServiceCode="ec2")["Quotas"]


def test_an_unknown_quota_is_refused(aws: Emulator) -> None:
    with pytest.raises(ClientError, match="NoSuchResourceException"):
        aws.client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode="L-00000000")


def test_addresses_above_the_quota_are_refused(tmp_path: Path, aws_authority: Authority) -> None:
    with running(tmp_path, aws_authority, QUOTA_ADDRESSES="2") as aws:
        ec2 = aws.client("ec2")
        made = [ec2.allocate_address(Domain="vpc")["AllocationId"] for _ in range(2)]
        with pytest.raises(ClientError, match="The maximum number of addresses has been reached") as refused:
            ec2.allocate_address(Domain="vpc")
        ec2.release_address(AllocationId=made[0])
        ec2.allocate_address(Domain="vpc")
        quota = aws.client("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode="L-0263D0A3")["Quota"]
    assert refused.value.response["Error"]["Code"] == "AddressLimitExceeded"
    assert quota["Value"] == 2.0


def test_vcpu_above_the_quota_are_refused(tmp_path: Path, aws_authority: Authority) -> None:
    """StreisandEffect/streisand#1715 and klothoplatform/klotho#311 have AWS's words."""
    words = "You have requested more vCPU capacity than your current vCPU limit of 5 allows"
    with running(tmp_path, aws_authority) as aws:
        ec2, eks = aws.client("ec2"), aws.client("eks")
        image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]

        def run(count: int, kind: str = "m6i.large") -> list[str]:
            made = ec2.run_instances(ImageId=image, InstanceType=kind, MinCount=count, MaxCount=count)["Instances"]
            return [each["InstanceId"] for each in made]

        with pytest.raises(ClientError, match=words) as refused:
            run(3)
        assert refused.value.response["Error"]["Code"] == "VcpuLimitExceeded"
        first = run(2)
        run(1, "g4dn.xlarge")  # of a quota of its own
        with pytest.raises(ClientError, match=words):
            run(1)
        ec2.terminate_instances(InstanceIds=first)
        role = "arn:aws:iam::123456789012:role/x"
        eks.create_cluster(name="quota", roleArn=role, resourcesVpcConfig={})
        group = {"clusterName": "quota", "subnets": [], "nodeRole": role, "instanceTypes": ["m6i.large"]}
        for name, count in (("small", 2), ("large", 3)):
            sizes = {"minSize": 1, "maxSize": 3, "desiredSize": count}
            eks.create_nodegroup(**group, nodegroupName=name, scalingConfig=sizes)
        small, large = (
            eks.describe_nodegroup(clusterName="quota", nodegroupName=name)["nodegroup"] for name in ("small", "large")
        )
    assert (small["status"], large["status"]) == ("ACTIVE", "CREATE_FAILED")
    [issue] = large["health"]["issues"]
    assert issue["code"] == "AsgInstanceLaunchFailures"
    assert issue["message"].startswith(f"Could not launch On-Demand Instances. VcpuLimitExceeded - {words}")
