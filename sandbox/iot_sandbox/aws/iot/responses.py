"""Requests and answers of AWS IoT's calls that moto lacks or answers differently."""

from __future__ import annotations

import json
from typing import Any, cast
from urllib.parse import parse_qsl, unquote

from moto.core.common_types import TYPE_RESPONSE
from moto.core.responses import ActionResult, EmptyResult
from moto.iot import models, urls
from moto.iot.exceptions import InvalidRequestException, IoTClientError, ResourceNotFoundException
from moto.iot.responses import IoTResponse

from iot_sandbox.aws.iot.backend import SandboxIoTBackend

# Calls that take tags, and the member of their answer that names the tagged resource.
TAGGED_ON_CREATION = {
    "CreatePolicy": "policyArn",
    "CreateThingType": "thingTypeArn",
    "CreateThingGroup": "thingGroupArn",
    "CreateBillingGroup": "billingGroupArn",
    "CreateRoleAlias": "roleAliasArn",
    "CreateJob": "jobArn",
    "CreateDomainConfiguration": "domainConfigurationArn",
    "RegisterCACertificate": "certificateArn",
}
PAGE = 100
LOG_LEVELS = ("DEBUG", "INFO", "ERROR", "WARN", "DISABLED")
# https://docs.aws.amazon.com/iot/latest/developerguide/tagging-iot.html, "Tag restrictions and limitations"
TAGS, KEY_LENGTH, VALUE_LENGTH, RESERVED = 50, 127, 255, "aws:"


class NotConfiguredError(IoTClientError):
    """The account has no logging options."""

    def __init__(self) -> None:
        super().__init__("NotConfiguredException", "The logging options are not configured")


class SandboxIoTResponse(IoTResponse):
    """One request to AWS IoT."""

    @property
    def iot_backend(self) -> SandboxIoTBackend:
        """The account's and region's backend."""
        return cast(SandboxIoTBackend, super().iot_backend)

    def call_action(self) -> TYPE_RESPONSE:
        """Run the call, then store the tags of a created resource."""
        arn_member = TAGGED_ON_CREATION.get(self._get_action() or "")
        tags = _checked(_tags(self._get_param("tags") or [])) if arn_member else {}
        status, headers, body = super().call_action()
        if arn_member and status == 200:
            self.iot_backend.tags[json.loads(body)[arn_member]] = tags
        return status, headers, body

    # --- logging

    def set_v2_logging_options(self) -> ActionResult:
        """SetV2LoggingOptions."""
        level, role = self._get_param("defaultLogLevel"), self._get_param("roleArn")
        if level and level not in LOG_LEVELS:
            raise InvalidRequestException(f"{level} is not one of {', '.join(LOG_LEVELS)}")
        if not role and not self.iot_backend.logging.get("roleArn"):
            raise InvalidRequestException("The role of the logging options is missing")
        given = {"defaultLogLevel": level, "roleArn": role, "disableAllLogs": self._get_bool_param("disableAllLogs")}
        self.iot_backend.logging |= {name: value for name, value in given.items() if value is not None}
        return EmptyResult()

    def get_v2_logging_options(self) -> ActionResult:
        """GetV2LoggingOptions."""
        if not self.iot_backend.logging:
            raise NotConfiguredError
        return ActionResult({"disableAllLogs": False, **self.iot_backend.logging})

    # --- destinations

    def create_topic_rule_destination(self) -> ActionResult:
        """CreateTopicRuleDestination."""
        destination = self.iot_backend.destinations.create(self._get_param("destinationConfiguration"))
        return ActionResult({"topicRuleDestination": destination.description()})

    def get_topic_rule_destination(self) -> ActionResult:
        """GetTopicRuleDestination."""
        destination = self.iot_backend.destinations.get(self._arn())
        return ActionResult({"topicRuleDestination": destination.description()})

    def list_topic_rule_destinations(self) -> ActionResult:
        """ListTopicRuleDestinations."""
        page, token = self._page([d.summary() for d in self.iot_backend.destinations.all()])
        return ActionResult({"destinationSummaries": page, "nextToken": token})

    def update_topic_rule_destination(self) -> ActionResult:
        """UpdateTopicRuleDestination."""
        self.iot_backend.destinations.update(self._get_param("arn"), self._get_param("status"))
        return EmptyResult()

    def delete_topic_rule_destination(self) -> ActionResult:
        """DeleteTopicRuleDestination."""
        self.iot_backend.destinations.delete(self._arn())
        return EmptyResult()

    def confirm_topic_rule_destination(self) -> ActionResult:
        """ConfirmTopicRuleDestination."""
        self.iot_backend.destinations.confirm(unquote(self.path.partition("/confirmdestination/")[2]))
        return EmptyResult()

    def _arn(self) -> str:
        return unquote(self.path.partition("/destinations/")[2])

    # --- rules

    def create_topic_rule(self) -> ActionResult:
        """CreateTopicRule; its tags come in a header."""
        tags = _checked(dict(parse_qsl(self.headers.get("x-amz-tagging") or "", True)))
        rule = self.iot_backend.put_topic_rule(self._get_param("ruleName"), self._payload(), replace=False)
        self.iot_backend.tags[rule.arn] = tags
        return EmptyResult()

    def replace_topic_rule(self) -> ActionResult:
        """ReplaceTopicRule; tags stay."""
        self.iot_backend.put_topic_rule(self._get_param("ruleName"), self._payload(), replace=True)
        return EmptyResult()

    def list_topic_rules(self) -> ActionResult:
        """ListTopicRules."""
        topic = self._get_param("topic")
        disabled = self._get_bool_param("ruleDisabled")
        found = [
            rule
            for rule in self.iot_backend.list_topic_rules()
            if topic in (None, rule["topicPattern"]) and disabled in (None, rule["ruleDisabled"])
        ]
        page, token = self._page(found)
        return ActionResult({"rules": page, "nextToken": token})

    def _payload(self) -> dict[str, Any]:
        try:
            payload = json.loads(self.body)
        except ValueError:
            payload = None
        if not isinstance(payload, dict):
            raise InvalidRequestException("topicRulePayload is required")
        return payload

    # --- certificates

    def create_certificate_from_csr(self) -> ActionResult:
        """CreateCertificateFromCsr; moto takes the text "false" of setAsActive for true."""
        certificate = self.iot_backend.create_certificate_from_csr(
            self._get_param("certificateSigningRequest"), bool(self._get_bool_param("setAsActive"))
        )
        return ActionResult(
            {
                "certificateId": certificate.certificate_id,
                "certificateArn": certificate.arn,
                "certificatePem": certificate.certificate_pem,
            }
        )

    # --- things

    def update_thing(self) -> ActionResult:
        """UpdateThing; refused if the thing does not have the expected version."""
        self._check_version()
        return super().update_thing()

    def delete_thing(self) -> ActionResult:
        """DeleteThing; a thing that does not exist counts as deleted."""
        try:
            self._check_version()
            return super().delete_thing()
        except ResourceNotFoundException:
            return EmptyResult()

    def _check_version(self) -> None:
        expected = self._get_param("expectedVersion")
        self.iot_backend.check_version(self._get_param("thingName"), None if expected is None else int(expected))

    # --- tags: https://docs.aws.amazon.com/iot/latest/developerguide/tagging-iot.html

    def tag_resource(self) -> ActionResult:
        """TagResource."""
        tags = self._tagged()
        tags.update(_checked(tags | _tags(self._get_param("tags") or [])))
        return EmptyResult()

    def untag_resource(self) -> ActionResult:
        """UntagResource."""
        tags = self._tagged()
        for key in self._get_param("tagKeys") or []:
            tags.pop(key, None)
        return EmptyResult()

    def list_tags_for_resource(self) -> ActionResult:
        """ListTagsForResource."""
        return ActionResult({"tags": [{"Key": k, "Value": v} for k, v in sorted(self._tagged().items())]})

    def _tagged(self) -> dict[str, str]:
        arn = self._get_param("resourceArn") or ""
        if not self._exists(arn):
            raise ResourceNotFoundException(f"The resource {arn} does not exist")
        return self.iot_backend.tags.setdefault(arn, {})

    def _exists(self, arn: str) -> bool:
        backend = self.iot_backend
        kind, _, name = arn.partition(":".join(arn.split(":")[:5]) + ":")[2].partition("/")
        known: dict[str, Any] = {
            "rule": backend.rules,
            "policy": backend.policies,
            "thingtype": backend.thing_types,
            "billinggroup": backend.billing_groups,
            "rolealias": backend.role_aliases,
            "cacert": backend.ca_certificates,
        }
        if kind == "thingtype":
            return any(t.arn == arn for t in backend.thing_types.values())
        return name in known[kind] if kind in known else arn in backend.tags or arn in backend.thing_groups

    # --- shared

    def _page(self, items: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], str | None]:
        start = self._get_param("nextToken") or "0"
        if not str(start).isdigit():
            raise InvalidRequestException("nextToken is not valid")
        end = int(start) + int(self._get_param("maxResults") or PAGE)
        return items[int(start) : end], str(end) if end < len(items) else None


def _tags(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag.get("Value", "") for tag in tags}


def _checked(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > TAGS:
        raise InvalidRequestException(f"A resource has at most {TAGS} tags")
    for key, value in tags.items():
        if not 0 < len(key) <= KEY_LENGTH or len(value) > VALUE_LENGTH or key.lower().startswith(RESERVED):
            raise InvalidRequestException(f"The tag {key!r} is too long or begins with {RESERVED}")
    return tags


def install() -> None:
    """Replace moto's backend and calls."""
    models.iot_backends.backend = SandboxIoTBackend
    urls.url_paths["{0}/.*$"] = SandboxIoTResponse.dispatch
