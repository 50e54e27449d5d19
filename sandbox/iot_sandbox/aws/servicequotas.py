"""Service Quotas of a fresh account, for what a deployment makes; moto has those of VPC only.

https://docs.aws.amazon.com/servicequotas/2019-06-24/apireference/API_GetServiceQuota.html
https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from moto.servicequotas import models, urls
from moto.servicequotas.exceptions import NoSuchResource
from moto.servicequotas.models import ServiceQuotasBackend

from iot_sandbox.aws import settings

VCPUS, ADDRESSES = "L-1216C47A", "L-0263D0A3"


def quotas(account_id: str, region: str) -> list[dict[str, Any]]:
    """EC2's quotas of one account and region."""
    config = settings.current()
    named = (
        (VCPUS, "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", config.quota_vcpus),
        (ADDRESSES, "EC2-VPC Elastic IPs", config.quota_addresses),
    )
    return [
        {
            "ServiceCode": "ec2",
            "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
            "QuotaArn": f"arn:aws:servicequotas:{region}:{account_id}:ec2/{code}",
            "QuotaCode": code,
            "QuotaName": name,
            "Value": value,
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
        for code, name, value in named
    ]


class SandboxServiceQuotasBackend(ServiceQuotasBackend):
    """Service Quotas of one account and region."""

    @property
    def _url_module(self) -> ModuleType:
        return urls

    def list_aws_default_service_quotas(self, service_code: str) -> list[dict[str, Any]]:
        """ListAWSDefaultServiceQuotas."""
        if service_code == "ec2":
            return quotas(self.account_id, self.region_name)
        return super().list_aws_default_service_quotas(service_code)

    def get_service_quota(self, service_code: str, quota_code: str) -> dict[str, Any]:
        """GetServiceQuota."""
        for quota in quotas(self.account_id, self.region_name) if service_code == "ec2" else ():
            if quota["QuotaCode"] == quota_code:
                return quota
        if service_code == "ec2":
            raise NoSuchResource
        return super().get_service_quota(service_code, quota_code)


def install() -> None:
    """Replace moto's backend."""
    models.servicequotas_backends.backend = SandboxServiceQuotasBackend
