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
  ip_family:
    description:
      - Addresses that its pods and Services must have.
      - A cluster of another family is an error. Not asked for if empty.
    type: str
    choices: ["", ipv4]
    default: ""
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
    module = AnsibleAWSModule(
        argument_spec={"name": {"required": True}, "ip_family": {"choices": ["", "ipv4"], "default": ""}},
        supports_check_mode=True,
    )
    client = module.client("eks", retry_decorator=AWSRetry.jittered_backoff())
    name, wanted = module.params["name"], module.params["ip_family"]
    try:
        cluster = client.describe_cluster(aws_retry=True, name=name)["cluster"]
    except is_boto3_error_code("ResourceNotFoundException"):
        cluster = {"status": "ABSENT"}
    except (BotoCoreError, ClientError) as error:
        module.fail_json_aws(error, msg=f"Unable to look up cluster {name} (DescribeCluster)")
    found = cluster.get("kubernetesNetworkConfig", {}).get("ipFamily", "")
    if wanted and found and found != wanted:
        module.fail_json(
            msg=f"Cluster {name} gives pods and Services addresses of family {found}, which EKS never changes; receiver"
            f" and load balancer need {wanted}. Name another cluster, or let Terraform make one: terraform_enabled."
        )
    module.exit_json(changed=False, status=cluster["status"])


if __name__ == "__main__":
    main()
