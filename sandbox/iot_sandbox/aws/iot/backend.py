"""moto's IoT backend with destinations, an authority for certificates, strict rules, and tags."""

from __future__ import annotations

import json
import re
from threading import RLock, Thread
from types import ModuleType
from typing import Any

from moto.core.utils import utcnow
from moto.iam.models import iam_backends
from moto.iot import urls
from moto.iot.exceptions import (
    CertificateStateException,
    DeleteConflictException,
    InvalidRequestException,
    IoTClientError,
    ResourceAlreadyExistsException,
    VersionConflictException,
)
from moto.iot.models import FakeCertificate, FakeEndpoint, FakePolicy, FakePolicyVersion, FakeThing, IoTBackend

from iot_sandbox.aws import authority, settings
from iot_sandbox.aws.iot import certificates, challenge, rules
from iot_sandbox.aws.iot.destinations import AccessDeniedError, Destination, Destinations
from iot_sandbox.shared import policies
from iot_sandbox.shared.sql import OLD_VERSION

RULE_NAME = re.compile(r"[a-zA-Z0-9_]{1,128}")
# "A maximum length of 2048, excluding whitespace": https://docs.aws.amazon.com/cli/latest/reference/iot/create-policy.html
POLICY_LENGTH = 2048


class MalformedPolicyError(IoTClientError):
    """The policy document is no JSON object with statements, or too long."""

    def __init__(self, reason: str = "") -> None:
        super().__init__("MalformedPolicyException", f"Policy document is Malformed{reason}")


class SandboxIoTBackend(IoTBackend):
    """AWS IoT of one account and region."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        config = settings.current()
        self.tags: dict[str, dict[str, str]] = {}
        self.rule_lock = RLock()
        self.logging: dict[str, Any] = {}  # of SetV2LoggingOptions; nothing is logged
        self.destinations = Destinations(
            f"arn:{self.partition}:iot:{region_name}:{account_id}",
            self._start_challenge,
            config.iot_token_lifetime,
            config.iot_deletion_time,
            unique=config.iot_unique_destinations,
        )

    @property
    def _url_module(self) -> ModuleType:
        # moto derives its routes from the module that a backend is defined in.
        return urls

    # --- endpoint

    def describe_endpoint(self, endpoint_type: str) -> FakeEndpoint:
        """One stable address per type: the broker's certificate and /etc/hosts carry it."""
        endpoint = FakeEndpoint(endpoint_type, self.region_name)
        _, _, rest = endpoint.endpoint.partition(".")
        suffix = "-ats" if endpoint_type == "iot:Data-ATS" else ""
        endpoint.endpoint = f"{settings.current().iot_endpoint_prefix}{suffix}.{rest}"
        return endpoint

    # --- destinations

    def _start_challenge(self, destination: Destination) -> None:
        Thread(target=self._challenge, args=(destination, destination.token), daemon=True).start()

    def _challenge(self, destination: Destination, token: str) -> None:
        config = settings.current()
        base = config.public_url or f"https://iot.{self.region_name}.amazonaws.com"
        message = challenge.Challenge(
            destination.confirmation_url,
            destination.arn,
            token,
            f"{base}/confirmdestination/{token}",
            config.iot_quoted_arn,
        )
        try:
            challenge.send(message, config.ca_bundle, config.iot_challenge_timeout)
        except challenge.ChallengeError as error:
            self.destinations.fail(destination, token, str(error))

    # --- certificates

    def create_keys_and_certificate(self, set_as_active: bool) -> tuple[FakeCertificate, dict[str, str]]:
        """CreateKeysAndCertificate."""
        pem, keys = certificates.new_key_and_certificate(authority.load(settings.current().ca_dir))
        return self._add_certificate(pem, "ACTIVE" if set_as_active else "INACTIVE"), keys

    def create_certificate_from_csr(self, csr: str, set_as_active: bool) -> FakeCertificate:
        """CreateCertificateFromCsr."""
        pem = certificates.certificate_for_request(authority.load(settings.current().ca_dir), csr)
        return self._add_certificate(pem, "ACTIVE" if set_as_active else "INACTIVE")

    def register_certificate(
        self, certificate_pem: str, ca_certificate_pem: str | None, set_as_active: bool, status: str
    ) -> FakeCertificate:
        """RegisterCertificate."""
        ca_id = self._find_ca_certificate(ca_certificate_pem)
        return self._add_certificate(certificate_pem, "ACTIVE" if set_as_active else status or "INACTIVE", ca_id)

    def register_certificate_without_ca(self, certificate_pem: str, status: str) -> FakeCertificate:
        """RegisterCertificateWithoutCA."""
        return self._add_certificate(certificate_pem, status or "INACTIVE")

    def update_certificate(self, certificate_id: str, new_status: str) -> None:
        """UpdateCertificate: the API's other statuses are AWS's own and cannot be set."""
        certificate = self.describe_certificate(certificate_id)
        if new_status not in certificates.SETTABLE:
            raise CertificateStateException(f"The status {new_status} cannot be set.", certificate_id)
        certificate.status = new_status
        certificate.last_modified_date = utcnow()

    def delete_certificate(self, certificate_id: str, force_delete: bool) -> None:
        """DeleteCertificate: an active one stays, one with a thing as well; with policies only if forced."""
        certificate = self.describe_certificate(certificate_id)
        if certificate.status == "ACTIVE":
            raise CertificateStateException(
                "Certificate must be deactivated (not ACTIVE) before deletion.", certificate_id
            )
        if any(principal == certificate.arn for principal, _ in self.principal_things):
            raise DeleteConflictException(f"Things must be detached before deletion (arn: {certificate.arn})")
        attached = [key for key in self.principal_policies if key[0] == certificate.arn]
        if attached and not force_delete:
            raise DeleteConflictException(
                f"Certificate policies must be detached before deletion (arn: {certificate.arn})"
            )
        for key in attached:
            del self.principal_policies[key]
        del self.certificates[certificate_id]

    def _add_certificate(self, pem: str, status: str, ca_id: str | None = None) -> FakeCertificate:
        certificate = certificates.Certificate(pem, status, self.account_id, self.region_name, ca_id)
        if certificate.certificate_id in self.certificates:
            raise ResourceAlreadyExistsException(
                "The certificate is already provisioned or registered",
                certificate.certificate_id,
                certificate.arn,
            )
        self.certificates[certificate.certificate_id] = certificate
        return certificate

    # --- things

    def create_thing(
        self,
        thing_name: str,
        thing_type_name: str,
        attribute_payload: dict[str, Any] | None,
        billing_group_name: str | None = None,
    ) -> FakeThing:
        """CreateThing: repeating a call gives the same answer; the same name with other values is refused."""
        for thing in self.things.values():
            if thing.thing_name == thing_name:
                asked = (thing_type_name or None, (attribute_payload or {}).get("attributes") or {})
                if asked != (thing.thing_type and thing.thing_type.thing_type_name, thing.attributes):
                    raise ResourceAlreadyExistsException(
                        f"Thing {thing_name} already exists in account with different attributes",
                        thing_name,
                        thing.arn,
                    )
                return thing
        return super().create_thing(thing_name, thing_type_name, attribute_payload, billing_group_name)

    def update_thing(
        self,
        thing_name: str,
        thing_type_name: str,
        attribute_payload: dict[str, Any] | None,
        remove_thing_type: bool,
    ) -> None:
        """UpdateThing; every update is a new version."""
        super().update_thing(thing_name, thing_type_name, attribute_payload, remove_thing_type)
        self.describe_thing(thing_name).version += 1

    def check_version(self, thing_name: str, expected: int | None) -> None:
        """Raise VersionConflictException unless the thing has the version that an update or deletion expects."""
        if expected is not None and self.describe_thing(thing_name).version != expected:
            raise VersionConflictException(thing_name)

    # --- policies

    def create_policy(self, policy_name: str, policy_document: Any) -> FakePolicy:
        """CreatePolicy."""
        _check_policy(policy_document)
        return super().create_policy(policy_name, policy_document)

    def create_policy_version(self, policy_name: str, policy_document: Any, set_as_default: bool) -> FakePolicyVersion:
        """CreatePolicyVersion; the sixth version is refused (moto does that)."""
        _check_policy(policy_document)
        return super().create_policy_version(policy_name, policy_document, bool(set_as_default))

    # --- rules

    def get_topic_rule(self, rule_name: str) -> dict[str, Any]:
        """GetTopicRule."""
        self._known_rule(rule_name)
        return super().get_topic_rule(rule_name)

    def put_topic_rule(self, rule_name: str, payload: dict[str, Any], replace: bool) -> rules.Rule:
        """CreateTopicRule and ReplaceTopicRule: check everything before changing anything.

        An HTTP action without a destination makes one, as on AWS (API_HttpAction: "if this is a new
        destination, a new TopicRuleDestination is created if possible").
        """
        if not RULE_NAME.fullmatch(rule_name):
            raise InvalidRequestException(f"ruleName must match ^[a-zA-Z0-9_]+$, got {rule_name!r}")
        with self.rule_lock:
            if replace:
                self._known_rule(rule_name)
            elif rule_name in self.rules:
                raise ResourceAlreadyExistsException(
                    "Rule with given name already exists", "", self.rules[rule_name].arn
                )
            rules.check(payload, self._iot_may_assume)
            for url in rules.http_confirmation_urls(payload):
                if not self.destinations.find(url):
                    self.destinations.create({"httpUrlConfiguration": {"confirmationUrl": url}})
            old = self.rules.get(rule_name)
            rule = rules.Rule(
                rule_name=rule_name,
                description=payload.get("description") or "",
                created_at=old.created_at if old else utcnow(),
                rule_disabled=bool(payload.get("ruleDisabled")),
                topic_pattern=rules.topic_pattern(payload["sql"]),
                actions=list(payload.get("actions") or []),
                error_action=dict(payload.get("errorAction") or {}),
                sql=payload["sql"],
                aws_iot_sql_version=payload.get("awsIotSqlVersion") or OLD_VERSION,
                account_id=self.account_id,
                region_name=self.region_name,
            )
            self.rules[rule_name] = rule
            return rule

    def delete_topic_rule(self, rule_name: str) -> None:
        """DeleteTopicRule."""
        self._known_rule(rule_name)
        super().delete_topic_rule(rule_name)

    def enable_topic_rule(self, rule_name: str) -> None:
        """EnableTopicRule."""
        self._known_rule(rule_name)
        super().enable_topic_rule(rule_name)

    def disable_topic_rule(self, rule_name: str) -> None:
        """DisableTopicRule."""
        self._known_rule(rule_name)
        super().disable_topic_rule(rule_name)

    def _known_rule(self, rule_name: str) -> None:
        if rule_name not in self.rules:
            raise AccessDeniedError("topic rule", rule_name)

    def _iot_may_assume(self, role_arn: str) -> bool:
        for role in iam_backends[self.account_id][self.partition].roles.values():
            if role.arn == role_arn:
                return policies.trusts(role.assume_role_policy_document, "iot.amazonaws.com")
        return False


def _check_policy(document: Any) -> None:
    try:
        parsed = json.loads(document) if isinstance(document, str) else document
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict) or not parsed.get("Statement"):
        raise MalformedPolicyError
    length = len("".join(document.split())) if isinstance(document, str) else 0
    if length > POLICY_LENGTH:
        raise MalformedPolicyError(f": it has {length} characters without white space, the most are {POLICY_LENGTH}")
