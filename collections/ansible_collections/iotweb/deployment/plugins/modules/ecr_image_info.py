#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ecr_image_info
version_added: 2.0.0
short_description: Look up whether an image is in ECR
description:
  - "Source: Amazon ECR API Reference, DescribeImages."
author:
  - IoT receiver contributors (@iotweb)
options:
  repository:
    description: Name of the repository; it need not be there.
    type: str
    required: true
  tag:
    description: The image's tag.
    type: str
    required: true
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Look up an image
  iotweb.deployment.ecr_image_info:
    repository: iot-receiver
    tag: "1"
"""

RETURN = r"""
present:
  description: Whether the image is there.
  type: bool
  returned: success
repository:
  description: Whether the repository is there.
  type: bool
  returned: success
"""

import contextlib

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with contextlib.suppress(ImportError):  # AnsibleAWSModule reports it
    from botocore.exceptions import BotoCoreError, ClientError


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "repository": {"type": "str", "required": True},
            "tag": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    client = module.client("ecr", retry_decorator=AWSRetry.jittered_backoff())
    try:
        client.describe_images(
            repositoryName=module.params["repository"],
            imageIds=[{"imageTag": module.params["tag"]}],
            aws_retry=True,
        )
    except is_boto3_error_code("ImageNotFoundException"):
        module.exit_json(changed=False, present=False, repository=True)
    except is_boto3_error_code("RepositoryNotFoundException"):
        module.exit_json(changed=False, present=False, repository=False)
    except (BotoCoreError, ClientError) as error:
        module.fail_json_aws(error, msg="ECR DescribeImages failed")
    module.exit_json(changed=False, present=True, repository=True)


if __name__ == "__main__":
    main()
