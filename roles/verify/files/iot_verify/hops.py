"""Where the path ends: each hop is looked at from outside, the first that is broken is named with its fix."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError


@dataclass(frozen=True)
class Hop:
    """One hop; `fault` is None where it is as it should be."""

    name: str
    state: str
    fault: str | None = None


def broker(canary: str) -> Hop:
    """Judge the broker by what the publisher said; it says nothing of a reading that the broker took."""
    if canary and "no row" not in canary:
        return Hop("broker", "the reading was not taken", canary)
    return Hop("broker", "took the reading")


def rule(name: str) -> Hop:
    """Look at the rule."""
    iot = boto3.client("iot")
    found = [one for page in iot.get_paginator("list_topic_rules").paginate() for one in page["rules"]]
    ours = next((one for one in found if one["ruleName"] == name), None)
    if ours is None:
        return Hop("rule", "missing", f"there is no rule {name}: ansible-playbook site.yml --tags iot_core")
    if ours.get("ruleDisabled"):
        return Hop("rule", "disabled", f"rule {name} is disabled: set iot_core_rule_enabled, --tags iot_core")
    return Hop("rule", "enabled")


def destination(url: str) -> Hop:
    """Look at the destination of the receiver's URL."""
    pages = boto3.client("iot").get_paginator("list_topic_rule_destinations").paginate()
    found = [one for page in pages for one in page["destinationSummaries"]]
    ours = [one for one in found if one.get("httpUrlSummary", {}).get("confirmationUrl", "").startswith(url)]
    if any(one["status"] == "ENABLED" for one in ours):
        return Hop("destination", "ENABLED")
    state = ", ".join(f"{one['status']} {one.get('statusReason') or ''}".strip() for one in ours) or "missing"
    return Hop("destination", state, f"the destination of {url} is {state}: ansible-playbook site.yml --tags iot_core")


def receiver(url: str, ca_file: str) -> Hop:
    """Ask the receiver for its metrics, as the world would."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
        with urllib.request.urlopen(f"{url}/metrics", timeout=10, context=context) as answer:  # noqa: S310 - https alone
            return Hop("receiver", f"{answer.status} at {url}/metrics")
    except urllib.error.HTTPError as error:
        state = f"{error.code} at {url}/metrics"
        return Hop("receiver", state, f"{state}: no pod is ready behind the load balancer, see --tags receiver")
    except OSError as error:
        reason = getattr(error, "reason", error)
        return Hop("receiver", "unreachable", f"{url}/metrics cannot be reached: {reason}")


def reason(dead_letter: str) -> str:
    """Return why a message lies on a dead-letter queue: IoT Core's words, or the receiver's."""
    try:
        content: Any = json.loads(dead_letter)
    except ValueError:
        return dead_letter[:200]
    failures = content.get("failures") if isinstance(content, dict) else None
    if failures:
        return "; ".join(str(failure.get("errorMessage", failure)) for failure in failures)
    return str(content.get("reason", dead_letter[:200])) if isinstance(content, dict) else dead_letter[:200]


def dead_letters(queue: str) -> Hop:
    """Look at a dead-letter queue without taking anything from it."""
    sqs, name = boto3.client("sqs"), f"queue {queue.rpartition('/')[2]}"
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    count = int(attributes["ApproximateNumberOfMessages"])
    if not count:
        return Hop(name, "empty")
    answer = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=0)
    reasons = sorted({reason(message["Body"]) for message in answer.get("Messages", [])})
    state = f"{count} messages"
    return Hop(name, state, f"messages were not delivered: {' / '.join(reasons)}" if reasons else None)


def look(canary: str, rule_name: str, url: str, ca_file: str, queues: Sequence[str]) -> Iterator[Hop]:
    """Look at all hops, in the order that a reading takes."""
    looks: list[tuple[str, Callable[[], Hop]]] = [
        ("broker", partial(broker, canary)),
        ("rule", partial(rule, rule_name)),
        ("destination", partial(destination, url)),
        ("receiver", partial(receiver, url, ca_file)),
        *((queue, partial(dead_letters, queue)) for queue in queues),
    ]
    for name, hop in looks:
        try:
            yield hop()
        except (BotoCoreError, ClientError) as error:
            yield Hop(name, "unknown", f"it could not be asked: {error}")


def report(hops: Sequence[Hop]) -> str:
    """Return the hops as a table, and the first fault in words."""
    width = max(len(hop.name) for hop in hops)
    lines = [f"{hop.name:<{width}}  {'-' if hop.fault else 'ok':<2}  {hop.state}" for hop in hops]
    broken = next((hop for hop in hops if hop.fault), None)
    verdict = (
        f"The path ends at the {broken.name}: {broken.fault}"
        if broken
        else "Each hop looks as it should, and yet no row appears: see the receiver's log and the rule's metrics."
    )
    return "\n".join([verdict, *lines])
