# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One destination, followed from status to status until it has the one that is asked for."""

from __future__ import annotations

import math
import time
from datetime import datetime
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import EXISTS, INVALID, MISSING, IoT, pauses
from ansible_collections.iotweb.aws_iot.plugins.module_utils.topic_rule_destination import (
    Destination,
    Summaries,
    advice,
    described,
    next_step,
    of_url,
    oldest,
    settled,
)

GONE = (MISSING, "UnauthorizedException")  # AWS answers the latter for a destination that isn't there
STALE = (
    "Each challenge has a token of its own and only the newest counts, for three days at most: take it from the"
    " endpoint's log, or leave confirmation_token out to have a new challenge sent. AWS's answer"
)


class Follower:
    """Takes the steps of one run.

    `made` is the destination that this run created, or that AWS said exists, before reads show it.
    """

    def __init__(self, iot: IoT) -> None:
        self.iot, self.params = iot, iot.module.params
        self.before: Destination | None = None
        self.made: Destination | None = None
        self.ours: str | None = None
        self.token: str | None = None
        self.updated: datetime | None = None
        self.others: list[str] = []
        self.began = self.sent = time.monotonic()
        self.progress: list[dict[str, Any]] = []
        self.reason = ""

    # --- what is

    def summaries(self) -> Summaries:
        return self.iot.list("list_topic_rule_destinations", "destinationSummaries")

    def current(self) -> Destination | None:
        """Return the destination as AWS reports it now."""
        found = self.chosen(self.agreed(self.summaries())) or self.unlisted()
        self.note(found)
        return found

    def agreed(self, listed: Summaries) -> Summaries:
        """Return a list as all runs agree on it that made a destination of the URL at the same time: the oldest stays.

        A list without ours does not show which that is, and what else it shows may be about to give way.
        """
        if not self.ours:
            return listed
        if all(one["arn"] != self.ours for one in listed):
            return [] if self.made else listed
        first = oldest(of_url(listed, self.params["confirmation_url"]))
        if first in (self.ours, None):
            return listed
        self.delete(self.ours)
        self.ours, self.made = None, None
        return [one for one in listed if one["arn"] == first]

    def chosen(self, listed: Summaries) -> Destination | None:
        if self.params["confirmation_url"]:
            found = of_url(listed, self.params["confirmation_url"])
        else:
            found = [one for one in listed if one["arn"] == self.params["arn"]]
        if not found:
            return None
        first = settled(found, self.iot.now)[0]
        self.made, self.updated = None, first.get("lastUpdatedAt")
        self.others = [one["arn"] for one in found if one is not first and one["status"] != "DELETING"]
        return described(first)

    def unlisted(self) -> Destination | None:
        """Return what this run made where the list does not show it yet."""
        if self.made is None:
            return None
        try:
            answer = self.iot.call("get_topic_rule_destination", GONE, arn=self.made["arn"])
        except is_boto3_error_code(list(GONE)):
            return self.made
        return described(answer["topicRuleDestination"])

    def note(self, current: Destination | None) -> None:
        status, reason = (current["status"], current["status_reason"]) if current else ("ABSENT", "")
        self.reason = reason or self.reason
        if not self.progress or self.progress[-1]["status"] != status:
            after = round(time.monotonic() - self.began, 1)
            self.progress.append({"status": status, "status_reason": reason, "after": after})

    # --- what is done

    def create(self) -> None:
        url = self.params["confirmation_url"]
        if not url:  # it was there when the run began
            self.check(None)
        wanted = {"httpUrlConfiguration": {"confirmationUrl": url}}
        try:
            answer = self.iot.write("create_topic_rule_destination", (EXISTS,), destinationConfiguration=wanted)
        except is_boto3_error_code(EXISTS) as exists:
            arn = exists.response.get("resourceArn")
            known = {"arn": arn, "confirmation_url": url, "status": "IN_PROGRESS", "status_reason": ""}
            self.made = known if arn else None
        else:
            self.made = described(answer["topicRuleDestination"])
            self.ours = self.made["arn"]

    def delete(self, arn: str) -> None:
        try:
            self.iot.write("delete_topic_rule_destination", GONE, arn=arn)
        except is_boto3_error_code(list(GONE)) as refused:
            if any(one["arn"] == arn and one["status"] != "DELETING" for one in self.summaries()):
                self.iot.fail(refused, "delete_topic_rule_destination", {"arn": arn})

    def set_status(self, arn: str, status: str) -> None:
        """Ask for a status. One that another run or AWS changed meanwhile is looked at anew by the caller."""
        try:
            self.iot.write("update_topic_rule_destination", (INVALID, *GONE), arn=arn, status=status)
        except is_boto3_error_code([INVALID, *GONE]) as refused:
            now = {one["arn"]: one["status"] for one in self.summaries()}.get(arn)
            if now in (None, "DELETING", status):
                return
            if status != "ENABLED" or now == "ENABLED":
                self.iot.fail(refused, f"update_topic_rule_destination to {status}", {"arn": arn})
            self.iot.write("update_topic_rule_destination", arn=arn, status="IN_PROGRESS")  # never confirmed

    def challenge_again(self, arn: str) -> None:
        """Have the challenge sent again, unless it was confirmed and only waits to be enabled.

        AWS's guide asks for that after the confirmation, its API reference does not.
        """
        try:
            self.iot.write("update_topic_rule_destination", (INVALID, *GONE), arn=arn, status="ENABLED")
        except is_boto3_error_code([INVALID, *GONE]):
            self.set_status(arn, "IN_PROGRESS")

    def confirm(self) -> None:
        token, self.token = self.token, None
        try:
            self.iot.write("confirm_topic_rule_destination", (INVALID, MISSING), confirmationToken=token)
        except is_boto3_error_code([INVALID, MISSING]) as refused:
            current = self.current()
            if not current or current["status"] != "ENABLED":
                self.iot.module.fail_json_aws(
                    refused, msg=f"AWS IoT confirm_topic_rule_destination failed. {STALE}"
                )

    def take(self, step: str, current: Destination | None) -> None:
        if step == "create":
            self.create()
        elif current is not None and step == "confirm":
            self.confirm()
        elif current is not None and step == "delete":
            self.delete(current["arn"])
        elif current is not None and step == current["status"] == "IN_PROGRESS":
            self.challenge_again(current["arn"])
        elif current is not None and step != "wait":
            self.set_status(current["arn"], step)
        if step in ("create", "IN_PROGRESS"):
            self.sent = time.monotonic()

    # --- the way

    def begin(self) -> Destination | None:
        """Return the destination before the run, and take up what an earlier run left."""
        current, token = self.current(), self.params["confirmation_token"]
        status = current["status"] if current else None
        if status == "IN_PROGRESS":
            self.token = token
            self.sent -= max((self.iot.now - self.updated).total_seconds(), 0) if self.updated and self.iot.now else 0
        else:
            self.sent = -math.inf
        if token and status in (None, "ERROR", "DELETING") and self.params["state"] != "absent":
            self.iot.module.warn("confirmation_token is not used: it belongs to a challenge that is over.")
        self.before = current
        self.check(current)
        return current

    def check(self, current: Destination | None) -> None:
        """End the module where it can't do anything, also in check mode."""
        if self.params["state"] == "absent":
            return
        gone = current is None or current["status"] == "DELETING"
        if gone and not self.params["confirmation_url"]:
            self.iot.module.fail_json(
                msg=f"There is no destination {self.params['arn']}: give confirmation_url to create one."
            )
        if current and current["status"] == "DELETING" and not self.params["wait"]:
            self.timed_out(current)

    def step(self, current: Destination | None) -> str:
        """Return the next step, as next_step does, or confirm."""
        if self.made:  # it is there, although it can't be acted on yet
            return "wait"
        if self.token and current and current["status"] == "IN_PROGRESS" and self.params["state"] != "absent":
            return "confirm"
        return next_step(current, self.params["state"], time.monotonic() - self.sent, self.params["resend_after"])

    def follow(self, current: Destination | None) -> Destination | None:
        """Return the destination in its state. Ends the module where that can't be reached in time."""
        pause = pauses(self.params["wait_delay"])
        while (step := self.step(current)) != "done":
            self.take(step, current)
            current = self.current()
            if not self.params["wait"] or self.step(current) == "done":
                return current
            waited = time.monotonic() - self.began
            if waited >= self.params["wait_timeout"]:
                if self.params["state"] == "absent" and current and current["status"] == "DELETING":
                    self.iot.module.warn(f"AWS is still deleting destination {current['confirmation_url']}.")
                    return current
                self.timed_out(current)
            time.sleep(min(next(pause), max(self.params["wait_timeout"] - waited, 0.1)))
        return current

    def timed_out(self, current: Destination | None) -> None:
        self.iot.module.fail_json(
            msg=advice(current, self.reason),
            destination=current or {},
            progress=self.progress,
            before=self.before or {},
            changed=self.iot.changed,
            timed_out=True,
        )
