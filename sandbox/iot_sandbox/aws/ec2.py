"""EC2 that keeps a launch template's own tags out of what it launches, and has a quota of addresses.

moto takes the request's TagSpecifications (of the template) for some of the template's data, which Terraform
then wants removed: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplate.html
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from moto.ec2 import models, urls
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_ip_addresses import ElasticAddress
from moto.ec2.models.launch_templates import LaunchTemplate

from iot_sandbox.aws import settings


class AddressLimitExceededError(EC2ClientError):
    """The account's quota of addresses is used up."""

    def __init__(self) -> None:
        super().__init__("AddressLimitExceeded", "The maximum number of addresses has been reached.")


class SandboxEC2Backend(EC2Backend):
    """EC2 of one account and region."""

    @property
    def _url_module(self) -> ModuleType:
        return urls

    def allocate_address(
        self, domain: str, address: str | None = None, tags: dict[str, str] | None = None
    ) -> ElasticAddress:
        """AllocateAddress: refused above the quota."""
        if len(self.addresses) >= settings.current().quota_addresses:
            raise AddressLimitExceededError
        return super().allocate_address(domain, address, tags)

    def create_launch_template(
        self, name: str, description: str, template_data: dict[str, Any], tag_spec: dict[str, dict[str, str]]
    ) -> LaunchTemplate:
        """CreateLaunchTemplate."""
        specifications = template_data.get("TagSpecifications") or []
        launched = [s for s in specifications if s.get("ResourceType") != "launch-template"]
        data = {k: v for k, v in template_data.items() if k != "TagSpecifications"}
        if launched:
            data["TagSpecifications"] = launched
        return super().create_launch_template(name, description, data, tag_spec)


def install() -> None:
    """Replace moto's backend."""
    models.ec2_backends.backend = SandboxEC2Backend
