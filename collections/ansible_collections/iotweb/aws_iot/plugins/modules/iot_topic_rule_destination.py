#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

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
author:
  - IoT receiver contributors (@iotweb)
options:
  confirmation_url:
    description:
      - The HTTPS URL that receives the challenge. Actions may post to it and to what lies below it.
      - One of O(confirmation_url) and O(arn) is required; a destination can only be made by its URL.
    type: str
  arn:
    description: ARN of an existing destination.
    type: str
  confirmation_token:
    description:
      - The token of a challenge, for an endpoint that can't confirm by itself. It is handed to AWS
        while the destination waits for it.
    type: str
  state:
    description: Whether rules can use the destination.
    type: str
    choices: [enabled, disabled, absent]
    default: enabled
  wait:
    description: Whether to wait until the destination has reached its state.
    type: bool
    default: true
  wait_timeout:
    description: Longest wait, in seconds.
    type: int
    default: 120
  wait_delay:
    description: Time between two looks at the destination, in seconds.
    type: int
    default: 3
  resend_after:
    description: Time after which a challenge that nobody answered, or that failed, is sent again, in seconds.
    type: int
    default: 30
attributes:
  check_mode:
    description: Predicts what would change, and writes nothing.
    support: full
  diff_mode:
    description: Shows the destination before and after.
    support: full
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Rules can post to the receiver
  iotweb.aws_iot.iot_topic_rule_destination:
    confirmation_url: https://ingest.example.com/ingest

- name: Destination is confirmed with the token from the endpoint's log
  iotweb.aws_iot.iot_topic_rule_destination:
    confirmation_url: https://ingest.example.com/ingest
    confirmation_token: "{{ token }}"

- name: Rules cannot post for now
  iotweb.aws_iot.iot_topic_rule_destination:
    confirmation_url: https://ingest.example.com/ingest
    state: disabled

- name: Destination is gone
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
"""

import math
import time
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT, Plan, differs

UNCONFIRMED = "InvalidRequestException"  # what AWS answers to ENABLED before a confirmation
EXISTS = "ResourceAlreadyExistsException"
GONE = ("ResourceNotFoundException", "UnauthorizedException")


def described(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a destination of the list or of Get, in Ansible's spelling."""
    http = answer.get("httpUrlProperties") or answer.get("httpUrlSummary") or {}
    return {
        "arn": answer["arn"],
        "confirmation_url": http.get("confirmationUrl", ""),
        "status": answer["status"],
        "status_reason": answer.get("statusReason") or "",
    }


def of_url(summaries: list[dict[str, Any]], url: str) -> list[dict[str, Any]]:
    """Return the destinations of a URL, the most useful one first."""
    same = [one for one in summaries if (one.get("httpUrlSummary") or {}).get("confirmationUrl") == url]
    order = ["ENABLED", "IN_PROGRESS", "DISABLED", "ERROR", "DELETING"]
    return sorted(same, key=lambda one: (order.index(one["status"]), str(one.get("createdAt")), one["arn"]))


def oldest(summaries: list[dict[str, Any]], url: str) -> str | None:
    """Return the ARN that all runs agree on when several made a destination of one URL at the same time."""
    same = [one for one in of_url(summaries, url) if one["status"] != "DELETING"]
    return min(((str(one.get("createdAt")), one["arn"]) for one in same), default=("", None))[1]


def next_step(current: dict[str, Any] | None, state: str, unanswered: float, resend_after: float) -> str:
    """Return what brings a destination nearer to its state.

    The answer is done, wait, create, delete, or the status to ask for. Unanswered: seconds since this run sent
    a challenge or began to wait for one that an earlier run sent; infinite for a fault seen first of all.
    """
    status = current["status"] if current else None
    if state == "absent":
        return {None: "done", "DELETING": "wait"}.get(status, "delete")
    if status is None:
        return "create"
    if status == "DELETING":
        return "wait"  # it goes away first, and is then made anew
    if state == "disabled":
        return "done" if status == "DISABLED" else "DISABLED"
    if status in ("IN_PROGRESS", "ERROR"):
        return "IN_PROGRESS" if unanswered >= resend_after else "wait"
    return "done" if status == "ENABLED" else "ENABLED"


def advice(current: dict[str, Any] | None, reason: str, waited: float) -> str:
    """Return why a destination has not reached its state, and what to do. The reason is the last one AWS gave."""
    if current is None:
        return "The destination is not there although AWS took the request: run again."
    where = f"Destination {current['confirmation_url']} is {current['status']} after {waited:.0f} s"
    reason = f" ({reason})" if reason else ""
    if current["status"] in ("IN_PROGRESS", "ERROR"):
        return (
            f"{where}{reason}. AWS posted a challenge to {current['confirmation_url']}/?confirmationToken=... and"
            " nobody confirmed it: the name must resolve to a public IPv4 address, the certificate come from a public"
            " authority, the path be routed with and without the slash, and the endpoint be allowed"
            " iot:ConfirmTopicRuleDestination."
        )
    return f"{where}{reason}: wait and run again, or look at it in AWS IoT's console under message routing."


class Destination:
    """One destination, followed from status to status."""

    def __init__(self, iot: IoT, plan: Plan) -> None:
        self.iot, self.plan, self.params = iot, plan, plan.module.params
        self.token = self.params["confirmation_token"]

    def current(self) -> dict[str, Any] | None:
        summaries = self.iot.list("list_topic_rule_destinations", "destinationSummaries")
        if self.params["arn"]:
            found = [one for one in summaries if one["arn"] == self.params["arn"]]
        else:
            found = of_url(summaries, self.params["confirmation_url"])
        return described(found[0]) if found else None

    def create(self) -> None:
        url = self.params["confirmation_url"]
        try:
            answer = self.iot.call(
                "create_topic_rule_destination",
                (EXISTS,),
                destinationConfiguration={"httpUrlConfiguration": {"confirmationUrl": url}},
            )
        except is_boto3_error_code(EXISTS):
            return
        ours = answer["topicRuleDestination"]["arn"]
        summaries = self.iot.list("list_topic_rule_destinations", "destinationSummaries")
        if oldest(summaries, url) not in (ours, None):
            self.delete(ours)

    def delete(self, arn: str) -> None:
        """Delete a destination that another run may have deleted meanwhile: AWS answers "unauthorized" to that."""
        try:
            self.iot.call("delete_topic_rule_destination", GONE, arn=arn)
        except is_boto3_error_code(list(GONE)) as refused:
            summaries = self.iot.list("list_topic_rule_destinations", "destinationSummaries")
            if any(one["arn"] == arn and one["status"] != "DELETING" for one in summaries):
                self.plan.module.fail_json_aws(refused, msg="AWS IoT delete_topic_rule_destination failed")

    def set_status(self, arn: str, status: str) -> None:
        try:
            self.iot.call("update_topic_rule_destination", (UNCONFIRMED,), arn=arn, status=status)
        except is_boto3_error_code(UNCONFIRMED) as refused:
            if status != "ENABLED":
                self.plan.module.fail_json_aws(
                    refused, msg=f"AWS IoT update_topic_rule_destination to {status} failed"
                )
            self.iot.call("update_topic_rule_destination", arn=arn, status="IN_PROGRESS")

    def confirm(self) -> None:
        self.iot.call("confirm_topic_rule_destination", confirmationToken=self.token)
        self.token = None

    def take(self, step: str, current: dict[str, Any] | None) -> None:
        if step == "create":
            if not self.params["confirmation_url"]:
                self.plan.module.fail_json(
                    msg=f"There is no destination {self.params['arn']}: give confirmation_url to create one."
                )
            self.plan.write(self.create)
        elif current is not None and step == "delete":
            self.plan.write(self.delete, current["arn"])
        elif current is not None:
            self.plan.write(self.set_status, current["arn"], step)

    def predicted(self, current: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return what check mode foresees."""
        if self.params["state"] == "absent":
            return None
        known = current or {"confirmation_url": self.params["confirmation_url"], "status_reason": ""}
        return {**known, "status": self.params["state"].upper()}

    def ensure(self, current: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return the destination in its state. Ends the module where that can't be reached in time."""
        began = time.monotonic()
        sent = began if current and current["status"] == "IN_PROGRESS" else -math.inf
        reason = ""
        while True:
            now = time.monotonic()
            step = next_step(current, self.params["state"], now - sent, self.params["resend_after"])
            if step == "done":
                return current
            if (
                self.token
                and current
                and current["status"] == "IN_PROGRESS"
                and self.params["state"] == "enabled"
            ):
                self.plan.write(self.confirm)
            elif step != "wait":
                self.take(step, current)
                sent = now
            if self.plan.module.check_mode:
                return self.predicted(current)
            current = self.current()
            reason = current["status_reason"] or reason if current else reason
            if not self.params["wait"] or next_step(current, self.params["state"], 0, 1) == "done":
                return current
            if now - began >= self.params["wait_timeout"]:
                self.plan.module.fail_json(
                    msg=advice(current, reason, now - began), destination=current or {}
                )
            time.sleep(self.params["wait_delay"])


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
        },
        required_one_of=[("confirmation_url", "arn")],
        supports_check_mode=True,
    )
    plan = Plan(module)
    destination = Destination(IoT(module), plan)
    before = destination.current()
    after = destination.ensure(before)
    module.exit_json(changed=plan.changed, destination=after or {}, diff=differs(before, after))


if __name__ == "__main__":
    main()
