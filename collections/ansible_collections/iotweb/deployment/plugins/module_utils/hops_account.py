# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at the hops in AWS, and at the domain as the world sees it."""

from __future__ import annotations

import socket
import ssl
import time
import urllib.error
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.urls import open_url
from ansible_collections.iotweb.deployment.plugins.module_utils.hops import (
    BROKEN,
    NOTE,
    Enrolment,
    Hop,
    certificate,
    days,
    dead_letters,
    enrolments,
    seen,
    tagged,
)

try:
    import boto3
except ImportError as missing:
    IMPORT_ERROR: ImportError | None = missing
else:
    IMPORT_ERROR = None

TIMEOUT = 10  # seconds


class Account:
    """One account and region, by the environment's credentials."""

    def __init__(self, region: str) -> None:
        if IMPORT_ERROR is not None:
            raise IMPORT_ERROR
        self._client = boto3.session.Session(region_name=region).client

    def cluster(self, name: str) -> Hop:
        """The EKS cluster."""
        eks = self._client("eks")
        try:
            found = eks.describe_cluster(name=name)["cluster"]
        except eks.exceptions.ResourceNotFoundException:
            return Hop("cluster", f"there is no {name}", BROKEN, tagged("terraform"))
        state = f"{name}: EKS {found.get('version', '?')}, {found['status']}"
        return (
            Hop("cluster", state)
            if found["status"] in {"ACTIVE", "UPDATING"}
            else Hop("cluster", state, BROKEN, tagged("terraform"))
        )

    def destination(self, url: str) -> Hop:
        """The destination of the receiver's URL."""
        pages = self._client("iot").get_paginator("list_topic_rule_destinations").paginate()
        found = [one for page in pages for one in page["destinationSummaries"]]
        ours = [one for one in found if one.get("httpUrlSummary", {}).get("confirmationUrl") == url]
        state = ", ".join(sorted({one["status"] for one in ours})) or "missing"
        if any(one["status"] == "ENABLED" for one in ours):
            return Hop("destination", f"ENABLED for {url}")
        return Hop("destination", f"{state} for {url}", BROKEN, tagged("iot_core"))

    def rule(self, name: str, topic: str) -> Hop:
        """The rule, and whether it reads the topic."""
        iot = self._client("iot")
        try:
            rule = iot.get_topic_rule(ruleName=name)["rule"]
        except (iot.exceptions.UnauthorizedException, iot.exceptions.ResourceNotFoundException):
            return Hop("rule", f"there is no {name}", BROKEN, tagged("iot_core"))
        if rule.get("ruleDisabled"):
            return Hop("rule", f"{name} is disabled", BROKEN, tagged("iot_core"))
        if f"'{topic}'" not in rule["sql"]:
            return Hop("rule", f"{name} does not read {topic}", BROKEN, tagged("iot_core"))
        return Hop("rule", f"{name} is enabled, reads {topic}")

    def policy(self, name: str) -> Hop:
        """The policy of the devices' certificates."""
        iot = self._client("iot")
        try:
            found = iot.get_policy(policyName=name)
        except iot.exceptions.ResourceNotFoundException:
            return Hop("policy", f"there is no {name}", BROKEN, tagged("iot_core"))
        return Hop("policy", f"{name}, version {found['defaultVersionId']}")

    def secret(self, arn: str) -> Hop:
        """How old the shared secret is, and whether a rotation was interrupted."""
        found = self._client("secretsmanager").list_secret_version_ids(SecretId=arn)["Versions"]  # those with a label
        versions = {label: one for one in found for label in one.get("VersionStages", [])}
        if "AWSCURRENT" not in versions:
            return Hop("secret", "it has no value", BROKEN, tagged("shared_secret"))
        state = f"{days(versions['AWSCURRENT']['CreatedDate'])} days old"
        if versions.get("AWSPENDING", versions["AWSCURRENT"]) is not versions["AWSCURRENT"]:
            fix = "a rotation was interrupted: ansible-playbook playbooks/rotate_secret.yml goes on"
            return Hop("secret", f"{state}, another one is pending", NOTE, fix)
        return Hop("secret", state)

    def certificates(self, things: list[str], limit: int) -> Hop:
        """The certificates of the first things."""
        iot = self._client("iot")
        return enrolments([self._enrolled(iot, thing) for thing in things[:limit]], len(things))

    @staticmethod
    def _enrolled(iot: Any, thing: str) -> Enrolment:
        made, ends = [], []
        try:
            pages = list(iot.get_paginator("list_thing_principals").paginate(thingName=thing))
        except iot.exceptions.ResourceNotFoundException:
            pages = []
        for arn in [arn for page in pages for arn in page["principals"] if ":cert/" in arn]:
            found = iot.describe_certificate(certificateId=arn.rpartition("/")[2])["certificateDescription"]
            if found["status"] == "ACTIVE":
                made.append(found["creationDate"])
                ends += [found["validity"]["notAfter"]] if found.get("validity") else []
        return Enrolment(thing, made, ends)

    def dead_letters(self, queues: dict[str, str]) -> Hop:
        """What waits on the queues, by the name of each."""
        sqs, name = self._client("sqs"), "ApproximateNumberOfMessages"
        return dead_letters({
            queue: int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])
            for queue, url in queues.items() if url
        })  # fmt: skip

    def readings(self, table: str, devices: list[str], limit: int) -> Hop:
        """The newest row of each of the first devices."""
        dynamodb, ages = self._client("dynamodb"), {}
        for device in devices[:limit]:
            rows = dynamodb.query(
                TableName=table, KeyConditionExpression="deviceId = :device", ScanIndexForward=False, Limit=1,
                ExpressionAttributeValues={":device": {"S": device}}, ProjectionExpression="received_at",
            )["Items"]  # fmt: skip
            at = rows[0].get("received_at", {}).get("S") if rows else None
            ages[device] = max(0.0, time.time() - datetime.fromisoformat(at).timestamp()) if at else None
        return seen(ages)


def domain(name: str, ca_file: str, missing: str = "") -> list[Hop]:
    """The domain's address, its certificate, and what answers there. Where its record is missing, nobody is asked."""
    fix = tagged("receiver")
    if missing:
        return [Hop("domain", missing, BROKEN, fix)]
    try:
        addresses = sorted({str(found[4][0]) for found in socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)})
    except OSError as error:
        return [
            Hop("domain", f"{name} does not resolve: {error.strerror}", BROKEN, f"its DNS record is missing: {fix}")
        ]
    state = f"{name} is {', '.join(addresses[:2])}"
    context = ssl.create_default_context(cafile=ca_file or None)
    try:
        with (
            socket.create_connection((name, 443), TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            peer = secure.getpeercert() or {}
        with open_url(f"https://{name}/metrics", timeout=TIMEOUT, ca_path=ca_file or None) as answer:
            status = answer.status
    except ssl.SSLCertVerificationError as error:
        return [Hop("domain", state), Hop("certificate", error.verify_message, BROKEN, tagged("terraform"))]
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError as error:
        return [Hop("domain", f"{state}, but {getattr(error, 'reason', error)}", BROKEN, fix)]
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(peer["notAfter"])), UTC)
    ends = certificate(until, "certificate", "ACM could not renew it: is its validation record still in DNS?")
    if status != 200:
        return [
            Hop("domain", f"{state}, and answers {status}", BROKEN, f"no pod is ready behind the load balancer: {fix}"),
            ends,
        ]
    return [Hop("domain", f"{state}, and answers"), ends]
