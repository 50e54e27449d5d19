#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: iot_policy_info
version_added: 1.0.0
short_description: Look up policies of AWS IoT Core
description:
  - Returns one policy or all, with their versions and what they are attached to.
seealso:
  - module: iotweb.aws_iot.iot_policy
author:
  - IoT receiver contributors (@iotweb)
options:
  name:
    description: Name of the only policy that is looked up.
    type: str
    aliases: [policy_name]
notes:
  - The caller needs the permissions C(iot:GetPolicy), C(iot:ListPolicies), C(iot:ListPolicyVersions),
    C(iot:ListTagsForResource), C(iot:ListTargetsForPolicy).
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Look up a policy
  iotweb.aws_iot.iot_policy_info:
    name: things
  register: found

- name: Somebody carries it
  ansible.builtin.assert:
    that: found.policies[0].targets | length > 0
"""

RETURN = r"""
policies:
  description: The policies, in the order of their names; empty for none.
  returned: always
  type: list
  elements: dict
  contains:
    policy_name:
      description: Its name.
      type: str
      sample: things
    policy_arn:
      description: Its ARN.
      type: str
      sample: arn:aws:iot:us-east-2:123456789012:policy/things
    default_version_id:
      description: Number of the version in force.
      type: str
      sample: "2"
    document:
      description: The document in force, as it was written (keys as in IAM).
      type: dict
    versions:
      description: All versions that AWS keeps, the newest first.
      type: list
      elements: dict
      contains:
        version_id:
          description: Its number.
          type: str
          sample: "2"
        is_default:
          description: Whether it is the one in force.
          type: bool
        creation_date:
          description: When it was written.
          type: str
    targets:
      description: What the policy is attached to.
      type: list
      elements: str
    tags:
      description: Its tags.
      type: dict
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT, instant
from ansible_collections.iotweb.aws_iot.plugins.module_utils.policy import current_policy, versions_of


def names(iot: IoT, params: dict[str, Any]) -> list[str]:
    """Return the names of the policies that are asked for."""
    if params["name"]:
        return [params["name"]]
    return sorted(policy["policyName"] for policy in iot.list("list_policies", "policies"))


def looked_up(iot: IoT, name: str) -> dict[str, Any] | None:
    policy = current_policy(iot, name)
    if policy is None:
        return None
    versions = [
        {
            "version_id": version["versionId"],
            "is_default": version["isDefaultVersion"],
            "creation_date": instant(version.get("createDate")),
        }
        for version in versions_of(iot, name)
    ]
    return {**policy, "versions": sorted(versions, key=lambda version: -int(version["version_id"]))}


def main() -> None:
    module = AnsibleAWSModule(argument_spec={"name": {"aliases": ["policy_name"]}}, supports_check_mode=True)
    iot = IoT(module)
    policies = [looked_up(iot, name) for name in names(iot, module.params)]
    module.exit_json(changed=False, policies=[policy for policy in policies if policy])


if __name__ == "__main__":
    main()
