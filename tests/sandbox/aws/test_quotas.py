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
