"""EC2 that keeps a launch template's own tags out of what it launches, and has quotas of addresses and of vCPU.

moto takes the request's TagSpecifications (of the template) for some of the template's data, which Terraform
then wants removed: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplate.html
"""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

from moto.ec2 import models, urls
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_ip_addresses import ElasticAddress
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import Instance, InstanceState, Reservation
from moto.ec2.models.launch_templates import LaunchTemplate

from iot_sandbox.aws import settings, spare_nodes


class AddressLimitExceededError(EC2ClientError):
    """The account's quota of addresses is used up."""

    def __init__(self) -> None:
        super().__init__("AddressLimitExceeded", "The maximum number of addresses has been reached.")


# Families that the quota of on-demand standard instances counts; each other one has a quota of its own.
STANDARD = re.compile(r"(a|c|d|h|i|im|is|m|r|t|z)\d")
TOO_MANY_VCPUS = (
    "You have requested more vCPU capacity than your current vCPU limit of {limit} allows for the instance bucket that "
    "the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an "
    "adjustment to this limit."
)


class VcpuLimitExceededError(EC2ClientError):
    """The account's quota of vCPU is used up."""

    def __init__(self) -> None:
        super().__init__("VcpuLimitExceeded", TOO_MANY_VCPUS.format(limit=round(settings.current().quota_vcpus)))


def vcpus(instance_type: str) -> int:
    """What an instance counts against the quota of standard instances."""
    if not STANDARD.match(instance_type) or instance_type not in INSTANCE_TYPES:
        return 0
    return int(INSTANCE_TYPES[instance_type]["VCpuInfo"]["DefaultVCpus"])


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

    def check_vcpus(self, instance_type: str, count: int) -> None:
        """Raise VcpuLimitExceededError if so many more instances are above the quota."""
        more = vcpus(instance_type) * count
        running = (each for each in self.all_running_instances() if each.lifecycle != "spot")
        if more and sum(vcpus(each.instance_type) for each in running) + more > settings.current().quota_vcpus:
            raise VcpuLimitExceededError

    def run_instances(
        self,
        image_id: str,
        count: int,
        user_data: Any,
        security_group_names: list[str],
        **kwargs: Any,
    ) -> Reservation:
        """RunInstances: refused above the quota."""
        template = kwargs.get("launch_template")
        named = self._get_template_from_args(template).data.get("InstanceType") if template else None
        if kwargs.get("instance_market_options") != "spot":
            self.check_vcpus(named if named and kwargs["is_instance_type_default"] else kwargs["instance_type"], count)
        return super().run_instances(image_id, count, user_data, security_group_names, **kwargs)

    def terminate_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        """TerminateInstances: a node that an autoscaler launched ends."""
        result = super().terminate_instances(instance_ids)
        for each in instance_ids:
            spare_nodes.current().end(each)
        return result

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
