#!/usr/bin/python
"""Module `ecr_image_info`: is an image in ECR?"""

from __future__ import annotations

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from botocore.exceptions import BotoCoreError, ClientError

DOCUMENTATION = r"""
module: ecr_image_info
short_description: Say whether an image is in ECR
options:
  repository:
    description: Name of the repository; it need not be there.
    type: str
    required: true
  tag:
    description: The image's tag.
    type: str
    required: true
attributes:
  check_mode: {support: full}
author:
  - IoT receiver contributors
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Image is looked for
  ecr_image_info:
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


def main() -> None:
    """Entry point of the module."""
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
