#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: eks_cluster_status
version_added: 2.0.0
short_description: Look up the status of an EKS cluster
description:
  - "Source: Amazon EKS API Reference, DescribeCluster."
author:
  - IoT receiver contributors (@iotweb)
options:
  name:
    description: The cluster's name.
    type: str
    required: true
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Look up the cluster
  iotweb.deployment.eks_cluster_status:
    name: iot-receiver
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

with contextlib.suppress(ImportError):  # AnsibleAWSModule reports it
    from botocore.exceptions import BotoCoreError, ClientError


def main() -> None:
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
