#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: iot_topic_rule_destination_info
version_added: 1.0.0
short_description: Look up HTTP destinations of AWS IoT Core's rules
description:
  - Returns one destination, those of a URL, or all HTTP destinations.
seealso:
  - module: iotweb.aws_iot.iot_topic_rule_destination
author:
  - IoT receiver contributors (@iotweb)
options:
  confirmation_url:
    description: The HTTPS URL that receives the destination's challenge.
    type: str
  arn:
    description: ARN of the only destination that is looked up.
    type: str
  status:
    description: Status of the destinations that are looked up.
    type: str
    choices: [ENABLED, IN_PROGRESS, DISABLED, ERROR, DELETING]
notes:
  - The caller needs the permission C(iot:ListTopicRuleDestinations).
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Look up a destination
  iotweb.aws_iot.iot_topic_rule_destination_info:
    confirmation_url: https://ingest.example.com/ingest
  register: found

- name: Rules can post to it
  ansible.builtin.assert:
    that: found.destinations | map(attribute='status') is contains('ENABLED')
"""

RETURN = r"""
destinations:
  description: The destinations, the most useful one first; empty for none.
  returned: always
  type: list
  elements: dict
  contains:
    arn:
      description: Its ARN.
      type: str
      sample: arn:aws:iot:us-east-2:123456789012:ruledestination/http/0a1b2c3d
    confirmation_url:
      description: Its URL.
      type: str
      sample: https://ingest.example.com/ingest
    status:
      description: One of ENABLED, IN_PROGRESS, DISABLED, ERROR and DELETING.
      type: str
      sample: ENABLED
    status_reason:
      description: AWS's reason for the status, often empty.
      type: str
    created_at:
      description: When it was created.
      type: str
    last_updated_at:
      description: When its status last changed, or its last challenge was sent.
      type: str
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT, instant
from ansible_collections.iotweb.aws_iot.plugins.module_utils.topic_rule_destination import STATUSES, described


def looked_up(summary: dict[str, Any]) -> dict[str, Any]:
    return {
        **described(summary),
        "created_at": instant(summary.get("createdAt")),
        "last_updated_at": instant(summary.get("lastUpdatedAt")),
    }


def meant(destination: dict[str, Any], params: dict[str, Any]) -> bool:
    """Return whether a destination is among those that are asked for."""
    return all(params[name] in (None, destination[name]) for name in ("arn", "confirmation_url", "status"))


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "confirmation_url": {},
            "arn": {},
            "status": {"choices": ["ENABLED", "IN_PROGRESS", "DISABLED", "ERROR", "DELETING"]},
        },
        supports_check_mode=True,
    )
    summaries = IoT(module).list("list_topic_rule_destinations", "destinationSummaries")
    found = [looked_up(summary) for summary in summaries if summary.get("httpUrlSummary")]
    asked = [destination for destination in found if meant(destination, module.params)]
    asked.sort(key=lambda one: (STATUSES.index(one["status"]), one["created_at"], one["arn"]))
    module.exit_json(changed=False, destinations=asked)


if __name__ == "__main__":
    main()
