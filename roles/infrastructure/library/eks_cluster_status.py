"""Ansible module eks_cluster_status: whether there is a cluster to work with."""

DOCUMENTATION = r"""
module: eks_cluster_status
short_description: Look up the status of an EKS cluster
description:
  - "Source: Amazon EKS API Reference, DescribeCluster."
options:
  name:
    description: The cluster's name.
    type: str
    required: true
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

RETURN = r"""
status:
  description: EKS's word for it, such as V(ACTIVE) or V(DELETING); V(ABSENT) if there is no such cluster.
  type: str
  returned: always
"""

import contextlib

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with contextlib.suppress(ImportError):  # AnsibleAWSModule says so
    from botocore.exceptions import BotoCoreError, ClientError


def main() -> None:
    """Entry point."""
    module = AnsibleAWSModule(argument_spec={"name": {"required": True}}, supports_check_mode=True)
    client = module.client("eks", retry_decorator=AWSRetry.jittered_backoff())
    name = module.params["name"]
    try:
        status = client.describe_cluster(aws_retry=True, name=name)["cluster"]["status"]
    except is_boto3_error_code("ResourceNotFoundException"):
        status = "ABSENT"
    except (BotoCoreError, ClientError) as error:
        module.fail_json_aws(error, msg=f"Unable to look up cluster {name} (DescribeCluster)")
    module.exit_json(changed=False, status=status)


if __name__ == "__main__":
    main()
