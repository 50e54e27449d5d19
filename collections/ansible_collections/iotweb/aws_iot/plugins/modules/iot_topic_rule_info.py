#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: iot_topic_rule_info
version_added: 1.0.0
short_description: Look up topic rules of AWS IoT Core
description:
  - Returns one rule, those of a topic, or all.
  - Set C(no_log) where a header of an action may hold a secret as a literal value, which
    O(iotweb.aws_iot.iot_topic_rule#module:secret_headers) writes. It is returned like the rest.
seealso:
  - module: iotweb.aws_iot.iot_topic_rule
author:
  - IoT receiver contributors (@iotweb)
options:
  name:
    description: Name of the only rule that is looked up.
    type: str
    aliases: [rule_name]
  topic:
    description: Topic filter of the rules that are looked up, as their statements write it.
    type: str
  enabled:
    description: Whether the rules that are looked up are in force. Without the option both kinds are.
    type: bool
notes:
  - The caller needs the permissions C(iot:GetTopicRule), C(iot:ListTagsForResource), C(iot:ListTopicRules).
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Look up a rule
  iotweb.aws_iot.iot_topic_rule_info:
    name: forward_to_alb
  register: found

- name: It is in force
  ansible.builtin.assert:
    that: found.rules[0].enabled

- name: Look up what the rule does with readings
  iotweb.aws_iot.iot_topic_rule_info:
    topic: things/telemetry
    enabled: true
"""

RETURN = r"""
rules:
  description: The rules, in the order of their names; empty for none.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: forward_to_alb
    arn:
      description: Its ARN.
      type: str
      sample: arn:aws:iot:us-east-2:123456789012:rule/forward_to_alb
    sql:
      description: Its statement.
      type: str
    sql_version:
      description: Version of the SQL engine.
      type: str
    description:
      description: What it is for.
      type: str
    actions:
      description: Its actions, spelled as in the API.
      type: list
      elements: dict
    error_action:
      description: Its error action, spelled as in the API; null for none.
      type: dict
    enabled:
      description: Whether it is in force.
      type: bool
    created_at:
      description: When it was created.
      type: str
    tags:
      description: Its tags.
      type: dict
"""

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT, instant
from ansible_collections.iotweb.aws_iot.plugins.module_utils.tags import current_tags
from ansible_collections.iotweb.aws_iot.plugins.module_utils.topic_rule import described, get_rule


def names(iot: IoT, params: dict[str, Any]) -> list[str]:
    """Return the names of the rules that are asked for."""
    if params["name"]:
        return [params["name"]]
    asked = {"topic": params["topic"]} if params["topic"] else {}
    return sorted(rule["ruleName"] for rule in iot.list("list_topic_rules", "rules", **asked))


def looked_up(iot: IoT, name: str, enabled: bool | None) -> dict[str, Any] | None:
    answer = get_rule(iot, name)
    if answer is None or enabled not in (None, not answer["rule"].get("ruleDisabled")):
        return None
    arn = answer["ruleArn"]
    created_at = instant(answer["rule"].get("createdAt"))
    return {**described(name, arn, answer["rule"], current_tags(iot, arn)), "created_at": created_at}


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={"name": {"aliases": ["rule_name"]}, "topic": {}, "enabled": {"type": "bool"}},
        mutually_exclusive=[("name", "topic")],
        supports_check_mode=True,
    )
    iot = IoT(module)
    rules = [looked_up(iot, name, module.params["enabled"]) for name in names(iot, module.params)]
    module.exit_json(changed=False, rules=[rule for rule in rules if rule])


if __name__ == "__main__":
    main()
