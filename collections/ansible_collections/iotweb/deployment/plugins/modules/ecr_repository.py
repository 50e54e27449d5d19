#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ecr_repository
version_added: 2.0.0
short_description: Create or delete a repository of ECR, by its owner
description:
  - What a repository is otherwise set to, M(community.aws.ecs_ecr) manages; that module knows no tags.
  - "Source: Amazon ECR API Reference."
author:
  - IoT receiver contributors (@iotweb)
options:
  name:
    description: Name of the repository.
    type: str
    required: true
  state:
    description: Whether the repository exists. One that is deleted takes its images with it.
    type: str
    choices: [present, absent]
    default: present
extends_documentation_fragment:
  - iotweb.aws_iot.attributes
  - iotweb.aws_iot.owner
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Create the repository of a deployment
  iotweb.deployment.ecr_repository:
    name: prod
    owner:
      Deployment: prod
"""

RETURN = r"""
tags:
  description: The repository's tags, as they are now or would be; empty when it is absent.
  type: dict
  returned: success
"""

import contextlib
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.tagging import (
    ansible_dict_to_boto3_tag_list,
    boto3_tag_list_to_ansible_dict,
)
from ansible_collections.iotweb.aws_iot.plugins.module_utils.owner import OWNER_OPTIONS, may_touch, owner_of

with contextlib.suppress(ImportError):  # AnsibleAWSModule reports it
    from botocore.exceptions import BotoCoreError, ClientError


class Ecr:
    """The calls; one that fails ends the module."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        self._module = module
        self._client = module.client("ecr", retry_decorator=AWSRetry.jittered_backoff())

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """One call's answer, empty where the repository does not exist."""
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(aws_retry=True, **arguments)
        except is_boto3_error_code("RepositoryNotFoundException"):
            return {}
        except (BotoCoreError, ClientError) as error:
            self._module.fail_json_aws(error, msg=f"ECR {operation} of {self._module.params['name']} failed")
        return answer

    def write(self, operation: str, **arguments: Any) -> None:
        """One call that changes something, none in check mode."""
        if not self._module.check_mode:
            self.call(operation, **arguments)

    def found(self, name: str) -> tuple[str, dict[str, str] | None]:
        """The repository's ARN and tags, None where there is no repository."""
        repositories = self.call("describe_repositories", repositoryNames=[name]).get("repositories")
        if not repositories:
            return "", None
        arn = repositories[0]["repositoryArn"]
        tags = self.call("list_tags_for_resource", resourceArn=arn).get("tags") or []
        return arn, dict(boto3_tag_list_to_ansible_dict(tags))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"required": True},
            "state": {"choices": ["present", "absent"], "default": "present"},
            **OWNER_OPTIONS,
        },
        supports_check_mode=True,
    )
    ecr, name, owner = Ecr(module), module.params["name"], owner_of(module.params)
    arn, before = ecr.found(name)
    after: dict[str, str] | None = before
    tags = ansible_dict_to_boto3_tag_list(owner)
    if not may_touch(module, f"ECR repository {name}", before):
        pass
    elif module.params["state"] == "absent":
        after = None
        if before is not None:
            ecr.write("delete_repository", repositoryName=name, force=True)
    else:
        after = {**(before or {}), **owner}
        if before is None:
            ecr.write("create_repository", repositoryName=name, tags=tags)
        elif after != before:
            ecr.write("tag_resource", resourceArn=arn, tags=tags)
    module.exit_json(changed=after != before, tags=after or {}, diff={"before": before or {}, "after": after or {}})


if __name__ == "__main__":
    main()
