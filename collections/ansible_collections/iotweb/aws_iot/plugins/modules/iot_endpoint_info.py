#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: iot_endpoint_info
version_added: 1.0.0
short_description: Find the address that devices of AWS IoT Core connect to
description:
  - Returns the account's own endpoint in the region.
author:
  - IoT receiver contributors (@iotweb)
options:
  endpoint_type:
    description:
      - Kind of endpoint. V(iot:Data-ATS) is the one whose certificate is signed by Amazon Trust Services.
    type: str
    choices: ['iot:Data-ATS', 'iot:Data', 'iot:CredentialProvider', 'iot:Jobs']
    default: iot:Data-ATS
notes:
  - The caller needs the permission C(iot:DescribeEndpoint).
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Look up the broker's address
  iotweb.aws_iot.iot_endpoint_info:
  register: broker
"""

RETURN = r"""
endpoint_address:
  description: Host name that devices connect to.
  returned: always
  type: str
  sample: a1b2c3d4e5f6g7-ats.iot.us-east-2.amazonaws.com
"""

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "endpoint_type": {
                "choices": ["iot:Data-ATS", "iot:Data", "iot:CredentialProvider", "iot:Jobs"],
                "default": "iot:Data-ATS",
            },
        },
        supports_check_mode=True,
    )
    answer = IoT(module).call("describe_endpoint", endpointType=module.params["endpoint_type"])
    module.exit_json(changed=False, endpoint_address=answer["endpointAddress"])


if __name__ == "__main__":
    main()
