#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: ecr_login
version_added: 2.0.0
short_description: Write a login to ECR that docker, podman, buildah and skopeo read
description:
  - The login is valid for twelve hours. The file is readable by its owner only; whoever asks for it removes it.
author:
  - IoT receiver contributors (@iotweb)
options:
  path:
    description: The file to write.
    type: path
    required: true
  registry:
    description: The registry's host name.
    type: str
    required: true
extends_documentation_fragment:
  - iotweb.aws_iot.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Write the login
  iotweb.deployment.ecr_login:
    path: /run/login/config.json
    registry: 123456789012.dkr.ecr.us-east-2.amazonaws.com
"""

RETURN = r""" # """

import contextlib
import json
from pathlib import Path

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with contextlib.suppress(ImportError):  # AnsibleAWSModule reports it
    from botocore.exceptions import BotoCoreError, ClientError


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "registry": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    client = module.client("ecr", retry_decorator=AWSRetry.jittered_backoff())
    try:
        answer = client.get_authorization_token(aws_retry=True)
    except (BotoCoreError, ClientError) as error:
        module.fail_json_aws(error, msg="ECR GetAuthorizationToken failed")
    token = answer["authorizationData"][0][
        "authorizationToken"
    ]  # base64 of "AWS:<password>", as the file has it
    if not module.check_mode:
        file = Path(module.params["path"])
        file.touch(mode=0o600)
        file.chmod(0o600)
        file.write_text(json.dumps({"auths": {module.params["registry"]: {"auth": token}}}))
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
