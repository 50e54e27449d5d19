"""Systems Manager with the public parameters that name EKS's images.

https://docs.aws.amazon.com/eks/latest/userguide/retrieve-ami-id.html
"""

from __future__ import annotations

import re
from types import ModuleType

from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.ssm import models, urls
from moto.ssm.models import Parameter, SimpleSystemManagerBackend

IMAGE = re.compile(
    r"/aws/service/eks/optimized-ami/[\d.]+/amazon-linux-2023/(x86_64|arm64)/standard/recommended/image_id"
)


class SandboxSsmBackend(SimpleSystemManagerBackend):
    """Systems Manager of one account and region."""

    @property
    def _url_module(self) -> ModuleType:
        return urls

    def get_parameter(self, name: str) -> Parameter | None:
        """GetParameter: the image is any of Amazon's for these processors, as nothing boots from it."""
        found = IMAGE.fullmatch(name)
        if not found:
            return super().get_parameter(name)
        images = ec2_backends[self.account_id][self.region_name].describe_images(
            owners=["amazon"], filters={"architecture": [found[1]]}
        )
        # moto leaves open what CloudFormation alone asks.
        return Parameter(  # type: ignore[abstract]
            account_id=self.account_id,
            name=name,
            value=images[0].id,
            parameter_type="String",
            description="",
            allowed_pattern=None,
            keyid=None,
            last_modified_date=utcnow(),
            version=1,
            data_type="text",
            labels=[],
            source_result=None,
        )


def install() -> None:
    """Replace moto's backend."""
    models.ssm_backends.backend = SandboxSsmBackend
