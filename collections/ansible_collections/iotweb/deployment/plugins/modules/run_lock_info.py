#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: run_lock_info
version_added: 2.0.0
short_description: Look up who is at work on a deployment
description:
  - Reads the lock that M(iotweb.deployment.run_lock) takes.
author:
  - IoT receiver contributors (@iotweb)
options:
  deployment:
    description: Name of the deployment.
    type: str
    required: true
  region:
    description: Region of the deployment.
    type: str
    required: true
notes:
  - The caller needs the permission C(ssm:GetParameter).
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
"""

EXAMPLES = r"""
- name: Look for a run in progress
  iotweb.deployment.run_lock_info:
    deployment: iot-receiver
    region: us-east-2
"""

RETURN = r"""
holder:
  description: Who holds the lock, in words; empty for nobody.
  type: str
  returned: always
"""

import contextlib

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.iotweb.deployment.plugins.module_utils.run_lock import RunLock, described, ended

with contextlib.suppress(ImportError):  # reported below
    from botocore.exceptions import BotoCoreError, ClientError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "deployment": {"type": "str", "required": True},
            "region": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        holder = RunLock(module.params["region"], module.params["deployment"]).holder()
    except ImportError:
        module.fail_json(msg=missing_required_lib("boto3"))
    except (BotoCoreError, ClientError) as error:
        module.fail_json(msg=f"The run lock cannot be read: {error}. It needs ssm:GetParameter.")
    module.exit_json(changed=False, holder="" if holder is None or ended(holder) else described(holder))


if __name__ == "__main__":
    main()
