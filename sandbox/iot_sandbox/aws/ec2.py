"""EC2 that keeps a launch template's own tags out of what it launches.

moto takes the request's TagSpecifications (of the template) for some of the template's data, which Terraform
then wants removed: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateLaunchTemplate.html
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from moto.ec2 import models, urls
from moto.ec2.models import EC2Backend
from moto.ec2.models.launch_templates import LaunchTemplate


class SandboxEC2Backend(EC2Backend):
    """EC2 of one account and region."""

    @property
    def _url_module(self) -> ModuleType:
        return urls

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
