# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTTP destinations of topic rules: which is meant, what its status asks for, what a run will come to.

https://docs.aws.amazon.com/iot/latest/apireference/API_UpdateTopicRuleDestination.html says which status
leads to which: DISABLED and ENABLED to each other, IN_PROGRESS and ERROR to IN_PROGRESS, which sends a challenge.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import instant

Destination = dict[str, Any]
Summaries = list[dict[str, Any]]
GIVES_WAY = 60  # seconds within which a run deletes the destination that it made beside an older one
FAILED_AFTER = 10  # seconds after which a challenge that failed is sent again
# The most useful first.
STATUSES = ("ENABLED", "IN_PROGRESS", "DISABLED", "ERROR", "DELETING")


def url_fault(url: str) -> str:
    """Return what keeps a URL from being a destination's; empty for nothing."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and not re.search(r"\s", url)
    except ValueError:
        usable = False
    return "" if usable else f"confirmation_url ({url}) must be an https URL, such as https://ingest.example.com/ingest"


def described(answer: dict[str, Any]) -> Destination:
    """Return a destination of the list or of Get, in Ansible's spelling."""
    http = answer.get("httpUrlProperties") or answer.get("httpUrlSummary") or {}
    return {
        "arn": answer["arn"],
        "confirmation_url": http.get("confirmationUrl", ""),
        "status": answer["status"],
        "status_reason": answer.get("statusReason") or "",
    }


def of_url(summaries: Summaries, url: str) -> Summaries:
    """Return the destinations of a URL, the most useful one first."""
    same = [one for one in summaries if (one.get("httpUrlSummary") or {}).get("confirmationUrl") == url]
    return sorted(same, key=lambda one: (STATUSES.index(one["status"]), instant(one.get("createdAt")), one["arn"]))


def oldest(same: Summaries) -> str | None:
    """Return the ARN that all runs agree on when several made a destination of one URL at the same time."""
    there = [one for one in same if one["status"] != "DELETING"]
    return min(((instant(one.get("createdAt")), one["arn"]) for one in there), default=("", None))[1]


def settled(same: Summaries, now: datetime | None) -> Summaries:
    """Return one URL's destinations without those that other runs have just made beside an older one, and delete."""
    first = oldest(same)
    if first is None or now is None:
        return same
    return [
        one
        for one in same
        if one["arn"] == first or not one.get("createdAt") or (now - one["createdAt"]).total_seconds() > GIVES_WAY
    ]


def next_step(current: Destination | None, state: str, unanswered: float, resend_after: float) -> str:
    """Return what brings a destination nearer to its state.

    The answer is done, wait, create, delete, or the status to ask for. Unanswered: seconds since the last challenge
    was sent; infinite for a fault seen first of all.
    """
    status = current["status"] if current else None
    if state == "absent":
        return {None: "done", "DELETING": "wait"}.get(status, "delete")
    if status is None:
        return "create"
    if status == "DELETING":
        return "wait"  # it goes away first, and is then made anew
    if status in ("IN_PROGRESS", "ERROR"):  # only a confirmed one can be switched on and off
        patience = min(resend_after, FAILED_AFTER) if status == "ERROR" else resend_after
        return "IN_PROGRESS" if unanswered >= patience else "wait"
    return "done" if status == state.upper() else state.upper()


def predicted(before: Destination | None, params: dict[str, Any], step: str) -> tuple[bool, Destination | None]:
    """Return whether a run will change something, and the destination it will leave.

    The step is the first one it will take; without wait there is no other.
    """
    state, wait = params["state"], params["wait"]
    if state == "absent":
        return step == "delete", None
    if step == "done":
        return False, before
    known = before if before and before["status"] != "DELETING" else None
    after = {"confirmation_url": params["confirmation_url"], "status_reason": "", **(known or {})}
    if wait:
        return True, {**after, "status": state.upper(), "status_reason": ""}
    status = {"create": "IN_PROGRESS", "confirm": "ENABLED", "wait": after.get("status")}.get(step, step)
    return step != "wait", {**after, "status": status}


def left(current: Destination | None, state: str) -> Destination | None:
    """Return the destination as a result shows it: where none is wanted, one that AWS is deleting is none."""
    return None if current and state == "absent" and current["status"] == "DELETING" else current


def advice(current: Destination | None, reason: str) -> str:
    """Return why a destination has not reached its state, and what to do. The reason is the last one AWS gave."""
    if current is None:
        return "The destination is not there although AWS took the request: run again."
    where = f"Destination {current['confirmation_url']} is still {current['status']}"
    reason = f" ({reason})" if reason else ""
    if current["status"] in ("IN_PROGRESS", "ERROR"):
        return (
            f"{where}{reason}. AWS posted a challenge to {current['confirmation_url']}/?confirmationToken=... and"
            " nobody confirmed it: the name must resolve to a public IPv4 address, the certificate come from a public"
            " authority, the path be routed with and without the slash, and the endpoint be allowed"
            " iot:ConfirmTopicRuleDestination. An endpoint that only logs the challenge: give its token as"
            " confirmation_token."
        )
    if current["status"] == "DELETING":
        return (
            f"{where}{reason}: AWS takes a while to delete one. Run again, with wait: true and a longer wait_timeout."
        )
    return f"{where}{reason}: run again, or look at it in AWS IoT's console under message routing."
