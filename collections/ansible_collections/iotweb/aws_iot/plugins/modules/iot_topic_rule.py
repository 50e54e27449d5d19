#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

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
seealso:
  - module: iotweb.aws_iot.iot_topic_rule_info
  - module: iotweb.aws_iot.iot_topic_rule_destination
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
        the API's type C(Action), see U(https://docs.aws.amazon.com/iot/latest/apireference/API_Action.html).
      - Text is taken for a number or a truth value where the API asks for one, and the other way round, so that
        templates need no filters. Names that the API doesn't know are refused, in check mode too.
      - Required with O(state=present).
    type: list
    elements: dict
  error_action:
    description:
      - What is done with a message whose action failed, spelled as an element of O(actions).
      - Without the option nothing is.
    type: dict
  secret_headers:
    description:
      - Values of headers of HTTP actions that are secret, by the headers' names. They are sent with every HTTP action,
        in the place of a header of the same name, and shown nowhere. Results have C((hidden)) for them, and the diff
        has numbers by which a change can be seen.
      - Prefer C(get_secret) in O(actions) where it can be; whoever may read the rule can see these.
    type: dict
  enabled:
    description: Whether a rule that is V(present) is in force.
    type: bool
    default: true
  role_timeout:
    description:
      - How long to try again while AWS can't yet assume a role that an action names, in seconds.
      - A role that was just made takes a while to be known everywhere.
    type: int
    default: 60
  state:
    description:
      - Whether the rule exists.
      - V(disabled) switches a rule off and leaves everything else of it as it is. A rule that does not exist stays so.
    type: str
    choices: [present, disabled, absent]
    default: present
notes:
  - The caller needs the permissions C(iot:CreateTopicRule), C(iot:DeleteTopicRule), C(iot:DisableTopicRule),
    C(iot:EnableTopicRule), C(iot:GetTopicRule), C(iot:ListTagsForResource), C(iot:ListTopicRules),
    C(iot:ReplaceTopicRule), C(iot:TagResource), C(iot:UntagResource), and C(iam:PassRole) on the roles that
    actions name.
  - Give secrets by O(secret_headers) or C(get_secret). Values of headers that a rule has and the task does not name
    are taken for secrets, too, and not shown.
extends_documentation_fragment:
  - iotweb.aws_iot.attributes
  - iotweb.aws_iot.owner
  - iotweb.aws_iot.wait
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - amazon.aws.tags
"""

EXAMPLES = r"""
- name: Post readings to the receiver and keep failures
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

- name: Send a secret that is not in Secrets Manager in a header
  iotweb.aws_iot.iot_topic_rule:
    name: forward_to_partner
    sql: SELECT * FROM 'things/telemetry'
    actions:
      - http:
          url: https://partner.example.com/readings
    secret_headers:
      X-Api-Key: "{{ partner_key }}"

- name: Create a tagged rule with several actions, whose errors go to a topic
  iotweb.aws_iot.iot_topic_rule:
    name: alarms
    description: Pumps that run hot
    sql: SELECT *, clientid() AS pump FROM 'pumps/+/heat' WHERE celsius > 80
    actions:
      - sns:
          targetArn: arn:aws:sns:us-east-2:123456789012:hot
          roleArn: arn:aws:iam::123456789012:role/rule
          messageFormat: RAW
      - dynamoDBv2:
          roleArn: arn:aws:iam::123456789012:role/rule
          putItem:
            tableName: hot
    error_action:
      republish:
        roleArn: arn:aws:iam::123456789012:role/rule
        topic: pumps/errors
        qos: 1
    tags:
      team: water

- name: Disable a rule and leave the rest of it as it is
  iotweb.aws_iot.iot_topic_rule:
    name: forward_to_alb
    state: disabled

- name: Delete a rule
  iotweb.aws_iot.iot_topic_rule:
    name: forward_to_alb
    state: absent
"""

RETURN = r"""
rule:
  description: The rule, as it is now or would be, in AWS's own spelling; empty when it is absent.
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
      type: dict
"""

from typing import Any
from urllib.parse import urlencode

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.errors import NOT_ASSUMABLE
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import (
    EXISTS,
    INVALID,
    MISSING,
    WAIT_OPTIONS,
    IoT,
)
from ansible_collections.iotweb.aws_iot.plugins.module_utils.owner import OWNER_OPTIONS, may_touch, with_owner
from ansible_collections.iotweb.aws_iot.plugins.module_utils.secret_headers import (
    HIDDEN,
    Headers,
    numbered,
    open_headers,
    taken,
    with_secrets,
    without_secrets,
)
from ansible_collections.iotweb.aws_iot.plugins.module_utils.shapes import fitted
from ansible_collections.iotweb.aws_iot.plugins.module_utils.tags import (
    TAG_OPTIONS,
    check_texts,
    desired_tags,
    write_tags,
)
from ansible_collections.iotweb.aws_iot.plugins.module_utils.topic_rule import (
    DENIED,
    agrees,
    current_rule,
    difference,
    payload,
    shown,
)


def asked_actions(iot: IoT) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Return the actions and the error action that are asked for, in the API's types.

    Ends the module for what is none, in check mode too, before anything looks into them.
    """
    params, shape = iot.module.params, iot.input_shape("create_topic_rule").members["topicRulePayload"]
    options = {"sql": params["sql"], "actions": params["actions"], "errorAction": params["error_action"]}
    payload = fitted(options, shape)
    iot.check("create_topic_rule", {"ruleName": params["name"], "topicRulePayload": payload})
    actions, error_action = payload["actions"], payload.get("errorAction")
    places = {f"actions[{place}]": action for place, action in enumerate(actions)}
    for place, action in {**places, **({} if error_action is None else {"error_action": error_action})}.items():
        if len(action) != 1:
            types = " and ".join(sorted(action)) or "none"
            iot.module.fail_json(
                msg=f"{place} must be a mapping of one action type, such as http, to its settings, and names {types}."
            )
    return actions, error_action


def desired(
    before: dict[str, Any] | None,
    params: dict[str, Any],
    actions: list[dict[str, Any]],
    error_action: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return the rule that the options ask for, with these actions."""
    return {
        "name": params["name"],
        **({"arn": before["arn"]} if before else {}),
        "sql": params["sql"].strip(),
        "sql_version": params["sql_version"],
        "description": params["description"],
        "actions": actions,
        "error_action": error_action,
        "enabled": params["enabled"],
        "tags": desired_tags(before["tags"] if before else {}, with_owner(params, "tags")),
    }


def create(iot: IoT, wanted: dict[str, Any]) -> dict[str, Any]:
    """Create the rule; one that another run made meanwhile is brought to what is wanted."""
    name, tags = wanted["name"], {"tags": urlencode(wanted["tags"])} if wanted["tags"] else {}
    try:
        put(iot, "create_topic_rule", wanted, (EXISTS,), **tags)
    except is_boto3_error_code(EXISTS) as error:
        found = iot.visible(lambda: current_rule(iot, name))
        if found is None:
            iot.fail(error, "create_topic_rule", {"ruleName": name})
        may_touch(iot.module, f"Rule {name}", found["tags"])
        return change(iot, found, {**wanted, "arn": found["arn"]})
    return wanted


def put(iot: IoT, operation: str, rule: dict[str, Any], expected: tuple[str, ...] = (), **arguments: Any) -> None:
    """Create or replace the rule, again and again while AWS can't assume its role yet."""
    arguments |= {"ruleName": rule["name"], "topicRulePayload": payload(rule)}
    passing = {INVALID: NOT_ASSUMABLE.pattern}
    iot.persist(operation, iot.module.params["role_timeout"], passing, expected, **arguments)


def change(iot: IoT, before: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Bring a rule that exists to what is wanted, by the smallest call that does."""
    step = difference(payload(before), payload(wanted))
    if step == "replace":
        put(iot, "replace_topic_rule", wanted)
    elif step != "nothing":
        iot.write(f"{step}_topic_rule", ruleName=wanted["name"])
    if before["tags"] != wanted["tags"]:
        write_tags(iot, before["arn"], before["tags"], wanted["tags"])
    if step == "replace":
        return wanted
    return {**before, "enabled": wanted["enabled"], "tags": wanted["tags"]}


def ensure_present(iot: IoT, before: dict[str, Any] | None, wanted: dict[str, Any]) -> dict[str, Any]:
    name = wanted["name"]
    after = change(iot, before, wanted) if before else create(iot, wanted)
    settled: dict[str, Any] = iot.settled(
        lambda: current_rule(iot, name), lambda found: agrees(found, after), f"rule {name}", after
    )
    return settled


def ensure_absent(iot: IoT, name: str) -> None:
    try:
        iot.write("delete_topic_rule", (MISSING, DENIED), ruleName=name)
    except is_boto3_error_code([MISSING, DENIED]) as refused:  # AWS answers so, too, to a rule that is gone meanwhile
        if current_rule(iot, name) is not None:
            iot.fail(refused, "delete_topic_rule", {"ruleName": name})
    iot.settled(lambda: current_rule(iot, name), lambda found: found is None, f"rule {name}", None)


def check_name(module: AnsibleAWSModule) -> None:
    """End the module, with a name to take instead, where the API would only say that it does not match."""
    name = module.params["name"]
    proposal = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)
    if name != proposal:
        module.fail_json(
            msg=f"Rule name {name} has characters other than letters, digits and underscores: write {proposal}."
        )


def finish(iot: IoT, before: dict[str, Any] | None, after: dict[str, Any] | None, known: Headers) -> None:
    """End the module with the rule and the diff, which show these headers only."""
    number = numbered()
    diff = {
        "before": without_secrets(shown(before), known, number),
        "after": without_secrets(shown(after), known, number),
    }
    iot.exit("rule", before, without_secrets(after, known, lambda _: HIDDEN), diff=diff)


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"required": True, "aliases": ["rule_name"]},
            "sql": {},
            "sql_version": {"default": "2016-03-23"},
            "description": {"default": ""},
            "actions": {"type": "list", "elements": "dict"},
            "error_action": {"type": "dict"},
            "secret_headers": {"type": "dict", "no_log": True},
            "enabled": {"type": "bool", "default": True},
            "role_timeout": {"type": "int", "default": 60},
            "state": {"choices": ["present", "disabled", "absent"], "default": "present"},
            **TAG_OPTIONS,
            **OWNER_OPTIONS,
            **WAIT_OPTIONS,
        },
        required_if=[("state", "present", ["sql", "actions"])],
        supports_check_mode=True,
    )
    secrets = taken(module)
    check_texts(module, "tags")
    check_name(module)
    iot, name = IoT(module), module.params["name"]
    state = module.params["state"]
    present = state == "present"
    actions, error_action = asked_actions(iot) if present else ([], None)
    before = current_rule(iot, name)
    after: dict[str, Any] | None = None
    if not may_touch(module, f"Rule {name}", before and before["tags"]):
        after = before
    elif present:
        full = [with_secrets(action, secrets) for action in actions]
        full_error = with_secrets(error_action, secrets) if error_action else None
        after = ensure_present(iot, before, desired(before, module.params, full, full_error))
    elif before is not None and state == "disabled":
        after = ensure_present(iot, before, {**before, "enabled": False})
    elif before is not None:
        ensure_absent(iot, name)
    known = open_headers([*actions, *([error_action] if error_action else [])], secrets)
    finish(iot, before, after, known)


if __name__ == "__main__":
    main()
