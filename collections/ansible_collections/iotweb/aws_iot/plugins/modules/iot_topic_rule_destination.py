#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: iot_topic_rule_destination
version_added: 1.0.0
short_description: Manage an HTTP destination of AWS IoT Core's rules
description:
  - Creates, enables, disables and deletes the destination that HTTP actions of topic rules need.
  - A destination is found by its confirmation URL and never made twice. Where two runs made one each at the
    same time, the older one stays.
  - AWS sends a challenge to the URL, and the destination is usable once the endpoint has confirmed it. The module
    waits for that, has a lost or expired challenge sent again, and says what is wrong when it does not come.
  - Destinations in other states are brought to the asked one, too. One in ERROR, and one whose challenge is older than
    O(resend_after), gets a new challenge; one that AWS is still deleting is waited for and then made anew.
seealso:
  - module: iotweb.aws_iot.iot_topic_rule_destination_info
  - module: iotweb.aws_iot.iot_topic_rule
  - name: Working with HTTP topic rule destinations
    description: AWS's guide, with the form of the challenge.
    link: https://docs.aws.amazon.com/iot/latest/developerguide/http-action-destination.html
author:
  - IoT receiver contributors (@iotweb)
options:
  confirmation_url:
    description:
      - The HTTPS URL that receives the challenge. Actions may post to it and to what lies below it.
      - Either this or O(arn) is required; a destination can only be made by its URL.
    type: str
  arn:
    description: ARN of an existing destination, in the place of O(confirmation_url).
    type: str
  confirmation_token:
    description:
      - The token of a challenge, for an endpoint that can't confirm by itself. It is handed to AWS
        while the destination waits for it.
      - It is the newest challenge's that counts. For a destination that waits for none it is left aside.
    type: str
  state:
    description:
      - Whether rules can use the destination.
      - V(disabled) needs one that was confirmed, as AWS switches no other; it is confirmed first where it was not.
    type: str
    choices: [enabled, disabled, absent]
    default: enabled
  wait:
    description:
      - Whether to wait until the destination has reached its state. While that lasts, the status is shown every ten
        seconds.
      - Without, the module takes the first step only, and returns the status that leads to.
    type: bool
    default: true
  wait_timeout:
    description: Longest wait, in seconds.
    type: int
    default: 120
  wait_delay:
    description:
      - Longest time between two looks at the destination, in seconds, at least 1. The first ones follow sooner.
    type: int
    default: 3
  resend_after:
    description:
      - Time after which a challenge that nobody answered is sent again, in seconds.
      - It counts from the sending, also where that was an earlier run's. One that failed is sent again after ten
        seconds at most.
    type: int
    default: 30
notes:
  - The caller needs the permissions C(iot:ConfirmTopicRuleDestination), C(iot:CreateTopicRuleDestination),
    C(iot:DeleteTopicRuleDestination), C(iot:GetTopicRuleDestination), C(iot:ListTopicRuleDestinations),
    C(iot:UpdateTopicRuleDestination); with O(owner) also C(iot:GetTopicRule), C(iot:ListTagsForResource),
    C(iot:ListTopicRules).
extends_documentation_fragment:
  - iotweb.aws_iot.attributes
  - iotweb.aws_iot.owner
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Create a destination and wait until it is confirmed
  iotweb.aws_iot.iot_topic_rule_destination:
    confirmation_url: https://ingest.example.com/ingest

- name: Confirm a destination with the token from the endpoint's log
  iotweb.aws_iot.iot_topic_rule_destination:
    confirmation_url: https://ingest.example.com/ingest
    confirmation_token: "{{ token }}"

- name: Disable a destination
  iotweb.aws_iot.iot_topic_rule_destination:
    confirmation_url: https://ingest.example.com/ingest
    state: disabled

- name: Create a destination without waiting for its confirmation
  iotweb.aws_iot.iot_topic_rule_destination:
    confirmation_url: https://ingest.example.com/ingest
    wait: false

- name: Delete a destination
  iotweb.aws_iot.iot_topic_rule_destination:
    confirmation_url: https://ingest.example.com/ingest
    state: absent
"""

RETURN = r"""
destination:
  description: The destination, as it is now or would be; empty when it is absent.
  returned: always
  type: dict
  contains:
    arn:
      description: Its ARN; missing when check mode would create it.
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
progress:
  description: The statuses that the run saw, the first one before it did anything.
  returned: always
  type: list
  elements: dict
  contains:
    status:
      description: One of the statuses, or ABSENT.
      type: str
      sample: IN_PROGRESS
    status_reason:
      description: AWS's reason for the status, often empty.
      type: str
    after:
      description: When it was first seen, in seconds since the run began.
      type: float
      sample: 4.2
"""

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.destination_follower import Follower
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT
from ansible_collections.iotweb.aws_iot.plugins.module_utils.owner import OWNER_OPTIONS, may_touch
from ansible_collections.iotweb.aws_iot.plugins.module_utils.topic_rule import posting_rules
from ansible_collections.iotweb.aws_iot.plugins.module_utils.topic_rule_destination import (
    Destination,
    left,
    predicted,
    url_fault,
)

LEAST = {"wait_timeout": 0, "wait_delay": 1, "resend_after": 0}  # seconds


def check_options(module: AnsibleAWSModule) -> None:
    """End the module where an option's value can't be meant, in check mode too."""
    if not module.params["arn"] and (fault := url_fault(module.params["confirmation_url"] or "")):
        module.fail_json(msg=f"{fault}.")
    for name, least in LEAST.items():
        if module.params[name] < least:
            module.fail_json(msg=f"{name} ({module.params[name]}) must be {least} or more.")


def is_ours(iot: IoT, before: Destination | None) -> bool:
    """Return whether no rule of somebody else posts to the destination."""
    if before is None or not iot.module.params["owner"]:
        return True
    url = before["confirmation_url"]
    return all(
        may_touch(iot.module, f"Destination {url}, to which rule {rule['name']} posts,", rule["tags"])
        for rule in posting_rules(iot, url)
    )


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "confirmation_url": {},
            "arn": {},
            "confirmation_token": {"no_log": True},
            "state": {"choices": ["enabled", "disabled", "absent"], "default": "enabled"},
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 120},
            "wait_delay": {"type": "int", "default": 3},
            "resend_after": {"type": "int", "default": 30},
            **OWNER_OPTIONS,
        },
        required_one_of=[("confirmation_url", "arn")],
        mutually_exclusive=[("confirmation_url", "arn")],
        supports_check_mode=True,
    )
    check_options(module)
    iot = IoT(module)
    follower = Follower(iot)
    before = follower.begin()
    if not is_ours(iot, before):
        iot.exit("destination", before, before, progress=follower.progress)
    if module.check_mode:
        iot.changed, after = predicted(before, module.params, follower.step(before))
    else:
        after = follower.follow(before)
    if after and follower.others:
        module.warn(f"The URL has other destinations, too, and needs one only: {', '.join(follower.others)}")
    before, after = (left(one, module.params["state"]) for one in (before, after))
    if before and after and before["status"] != after["status"]:
        iot.changed = True  # the endpoint's confirmation, which the run waited for
    iot.exit("destination", before, after, progress=follower.progress)


if __name__ == "__main__":
    main()
