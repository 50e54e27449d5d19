#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
---
module: iot_topic_rule
version_added: 1.0.0
short_description: Manage a topic rule of AWS IoT Core
description:
  - Creates, replaces, enables, disables and deletes a rule.
  - Actions are written as in the API, with every type and field it has, HTTP actions with batching among them.
  - A rule is replaced only where it differs. What AWS fills in by itself, white space of the statement and the order
    of headers make no difference.
author:
  - IoT receiver contributors (@iotweb)
options:
  name:
    description: Name of the rule. Letters, digits and underscores only.
    type: str
    required: true
    aliases: [rule_name]
  sql:
    description: The statement. Required with O(state=present).
    type: str
  sql_version:
    description: Version of the SQL engine.
    type: str
    default: '2016-03-23'
  description:
    description: What the rule is for.
    type: str
    default: ''
  actions:
    description:
      - What is done with each message. Each element is a mapping of one action type to its settings, spelled as in
        the API's type C(Action).
      - Required with O(state=present).
    type: list
    elements: dict
  error_action:
    description: What is done with a message whose action failed, spelled as an element of O(actions).
    type: dict
  enabled:
    description: Whether the rule is in force.
    type: bool
    default: true
  role_timeout:
    description:
      - How long to try again while AWS can't yet assume a role that an action names, in seconds.
      - A role that was just made takes a while to be known everywhere.
    type: int
    default: 60
  state:
    description: Whether the rule exists.
    type: str
    choices: [present, absent]
    default: present
  tags:
    description: Tags of the rule. Without the option they are left as they are.
    type: dict
    aliases: [resource_tags]
  purge_tags:
    description: Whether tags that are not listed in O(tags) are removed.
    type: bool
    default: true
notes:
  - Set C(no_log) where a header carries a secret as a literal value rather than by C(get_secret).
attributes:
  check_mode:
    description: Predicts what would change, and writes nothing.
    support: full
  diff_mode:
    description: Shows the rule before and after.
    support: full
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Readings are posted to the receiver, failures are kept
  iotweb.aws_iot.iot_topic_rule:
    name: forward_to_alb
    sql: SELECT * FROM 'things/telemetry'
    actions:
      - http:
          url: https://ingest.example.com/ingest
          confirmationUrl: https://ingest.example.com/ingest
          enableBatching: true
          batchConfig:
            maxBatchSize: 10
          headers:
            - key: X-Iot-Secret
              value: "${get_secret('receiver', 'SecretString', 'secret', 'arn:aws:iam::123456789012:role/rule')}"
    error_action:
      sqs:
        queueUrl: https://sqs.us-east-2.amazonaws.com/123456789012/dead-letters
        roleArn: arn:aws:iam::123456789012:role/rule

- name: Rule pauses
  iotweb.aws_iot.iot_topic_rule:
    name: forward_to_alb
    sql: SELECT * FROM 'things/telemetry'
    actions: "{{ actions }}"
    enabled: false

- name: Rule is gone
  iotweb.aws_iot.iot_topic_rule:
    name: forward_to_alb
    state: absent
"""

RETURN = r"""
rule:
  description: The rule, as it is now or would be, with defaults written out; empty when it is absent.
  returned: always
  type: dict
  contains:
    name:
      description: Its name.
      type: str
      sample: forward_to_alb
    arn:
      description: Its ARN; missing when check mode would create it.
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
    tags:
      description: Its tags.
      returned: when O(tags) is given
      type: dict
"""

import re
import time
from typing import Any
from urllib.parse import urlencode

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.tagging import (
    ansible_dict_to_boto3_tag_list,
    boto3_tag_list_to_ansible_dict,
    compare_aws_tags,
)
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT, Plan, differs
from ansible_collections.iotweb.aws_iot.plugins.module_utils.topic_rule import difference, normal_rule

INVALID = "InvalidRequestException"
NOT_ASSUMABLE = re.compile(
    r"assume ?role", re.IGNORECASE
)  # INVALID's message while a new role is not known everywhere


def payload(params: dict[str, Any]) -> dict[str, Any]:
    """Return the TopicRulePayload that the options ask for."""
    wanted: dict[str, Any] = {
        "sql": params["sql"].strip(),
        "description": params["description"],
        "actions": params["actions"],
        "ruleDisabled": not params["enabled"],
        "awsIotSqlVersion": params["sql_version"],
    }
    if params["error_action"]:
        wanted["errorAction"] = params["error_action"]
    return wanted


def described(name: str, arn: str | None, rule: dict[str, Any]) -> dict[str, Any]:
    """Return a rule as the module tells it."""
    normal = normal_rule(rule)
    return {
        "name": name,
        **({"arn": arn} if arn else {}),
        "sql": normal["sql"],
        "sql_version": normal["awsIotSqlVersion"],
        "description": normal["description"],
        "actions": normal["actions"],
        "error_action": normal["errorAction"],
        "enabled": not normal["ruleDisabled"],
    }


def current_rule(iot: IoT, name: str) -> dict[str, Any] | None:
    """Return GetTopicRule's answer, None for no rule.

    AWS answers UnauthorizedException for a rule that isn't there, so the list has to tell.
    """
    try:
        return iot.call(
            "get_topic_rule", ("UnauthorizedException", "ResourceNotFoundException"), ruleName=name
        )
    except is_boto3_error_code(["UnauthorizedException", "ResourceNotFoundException"]) as refused:
        if any(rule["ruleName"] == name for rule in iot.list("list_topic_rules", "rules")):
            iot.module.fail_json_aws(
                refused, msg=f"AWS IoT get_topic_rule failed for the existing rule {name}"
            )
        return None


def write_rule(iot: IoT, operation: str, timeout: float, **arguments: Any) -> None:
    """Create or replace a rule, again and again while AWS can't assume its role yet."""
    until = time.monotonic() + timeout
    while True:
        try:
            iot.call(operation, (INVALID,), **arguments)
        except is_boto3_error_code(INVALID) as error:
            if not NOT_ASSUMABLE.search(str(error)) or time.monotonic() >= until:
                iot.module.fail_json_aws(error, msg=f"AWS IoT {operation} failed")
            time.sleep(3)
        else:
            return


def ensure_rule(iot: IoT, plan: Plan, current: dict[str, Any] | None) -> None:
    params = plan.module.params
    name, wanted, timeout = params["name"], payload(params), params["role_timeout"]
    step = difference(current["rule"] if current else None, wanted)
    if step == "create":
        tags = {"tags": urlencode(params["tags"])} if params["tags"] else {}
        plan.write(
            write_rule, iot, "create_topic_rule", timeout, ruleName=name, topicRulePayload=wanted, **tags
        )
    elif step == "replace":
        plan.write(write_rule, iot, "replace_topic_rule", timeout, ruleName=name, topicRulePayload=wanted)
    elif step != "nothing":
        plan.write(iot.call, f"{step}_topic_rule", ruleName=name)


def current_tags(iot: IoT, arn: str) -> dict[str, str]:
    tags: dict[str, str] = boto3_tag_list_to_ansible_dict(iot.list("list_tags_for_resource", "tags", resourceArn=arn))
    return tags


def ensure_tags(iot: IoT, plan: Plan, arn: str, before: dict[str, str]) -> dict[str, str]:
    params = plan.module.params
    added, removed = compare_aws_tags(before, params["tags"], params["purge_tags"])
    if added:
        plan.write(iot.call, "tag_resource", resourceArn=arn, tags=ansible_dict_to_boto3_tag_list(added))
    if removed:
        plan.write(iot.call, "untag_resource", resourceArn=arn, tagKeys=removed)
    return {**{key: value for key, value in before.items() if key not in removed}, **added}


def ensure_present(
    iot: IoT, plan: Plan, current: dict[str, Any] | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the rule before and after."""
    params, arn = plan.module.params, current["ruleArn"] if current else None
    before = described(params["name"], arn, current["rule"]) if current else {}
    ensure_rule(iot, plan, current)
    after = described(params["name"], arn, payload(params))
    if plan.changed and not plan.module.check_mode:
        stored = current_rule(iot, params["name"])
        if stored:
            after = described(params["name"], stored["ruleArn"], stored["rule"])
    if params["tags"] is not None:
        before |= {"tags": current_tags(iot, arn)} if arn else {}
        after["tags"] = ensure_tags(iot, plan, arn, before["tags"]) if arn else params["tags"]
    return before, after


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"required": True, "aliases": ["rule_name"]},
            "sql": {},
            "sql_version": {"default": "2016-03-23"},
            "description": {"default": ""},
            "actions": {"type": "list", "elements": "dict"},
            "error_action": {"type": "dict"},
            "enabled": {"type": "bool", "default": True},
            "role_timeout": {"type": "int", "default": 60},
            "state": {"choices": ["present", "absent"], "default": "present"},
            "tags": {"type": "dict", "aliases": ["resource_tags"]},
            "purge_tags": {"type": "bool", "default": True},
        },
        required_if=[("state", "present", ["sql", "actions"])],
        supports_check_mode=True,
    )
    name = module.params["name"]
    if not name.replace("_", "").isalnum() or not name.isascii():
        module.fail_json(msg=f"Rule name {name} has characters other than letters, digits and underscores: write"
                         f" {''.join(c if c.isalnum() and c.isascii() else '_' for c in name)}.")  # fmt: skip
    iot, plan = IoT(module), Plan(module)
    current = current_rule(iot, name)
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    if module.params["state"] == "present":
        before, after = ensure_present(iot, plan, current)
    elif current is not None:
        before = described(name, current["ruleArn"], current["rule"])
        plan.write(iot.call, "delete_topic_rule", ruleName=name)
    module.exit_json(changed=plan.changed, rule=after, diff=differs(before, after))


if __name__ == "__main__":
    main()
