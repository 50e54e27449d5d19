"""Elastic Load Balancing with real health checks of its targets, in the background, and AWS's refusals.

https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateListener.html
https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html
https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTargetHealth.html
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock, Thread
from types import ModuleType
from typing import Any

from moto.acm.exceptions import AWSResourceNotFoundException
from moto.acm.models import acm_backends
from moto.elbv2 import models, urls
from moto.elbv2.exceptions import ELBClientError, ValidationError
from moto.elbv2.models import (
    ELBv2Backend,
    FakeHealthStatus,
    FakeListener,
    FakeLoadBalancer,
    FakeTargetGroup,
    elbv2_backends,
)

from iot_sandbox.aws import changes, settings, target_health
from iot_sandbox.aws.target_health import Check, Health, Record, State

log = logging.getLogger(__name__)
WORKERS = 8
TICK_SECONDS = 0.1
MAX_TIMEOUT_SECONDS = 5.0
NAME, NAME_LENGTH = re.compile("[a-zA-Z0-9-]+"), 32

Key = tuple[str, str, int]  # target group's ARN, target's id, port


class Checker:
    """Checks every registered ip target of every target group in use, each at its interval."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._records: dict[Key, Record] = {}
        self._drained: dict[Key, float] = {}
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="target-health")
        Thread(target=self._run, name="target-health", daemon=True).start()

    def health(self, key: Key) -> Health:
        """State of a registered target."""
        with self._lock:
            return self._records.setdefault(key, Record()).health

    def drain(self, key: Key, delay: float) -> None:
        """A target was deregistered: it drains for `delay` seconds."""
        with self._lock:
            self._records.pop(key, None)
            self._drained[key] = time.monotonic() + delay

    def registered(self, key: Key) -> None:
        """A target was registered: its checks begin anew."""
        with self._lock:
            self._drained.pop(key, None)
            self._records.setdefault(key, Record())

    def draining(self, arn: str) -> list[Key]:
        """Targets of a group that are still draining."""
        with self._lock:
            self._end_draining()
            return [key for key in self._drained if key[0] == arn]

    def _end_draining(self) -> None:
        now = time.monotonic()
        for key in [k for k, until in self._drained.items() if until <= now]:
            del self._drained[key]
            changes.note()

    def _run(self) -> None:
        while True:
            try:
                self._submit_due()
            except RuntimeError as error:  # moto changed its dictionaries meanwhile: check next time
                log.debug("target health: %s", error)
            time.sleep(TICK_SECONDS)

    def _submit_due(self) -> None:
        now = time.monotonic()
        wanted = dict(_targets())
        with self._lock:
            self._end_draining()
            for gone in [key for key in self._records if key not in wanted]:
                del self._records[gone]
            due = []
            for key, group in wanted.items():
                record = self._records.setdefault(key, Record())
                if record.due <= now and not record.running:
                    record.running = True
                    record.due = now + min(self._interval, float(group.health_check_interval_seconds))
                    due.append((key, record, group))
        for key, record, group in due:
            self._pool.submit(self._check, key, record, group)

    def _check(self, key: Key, record: Record, group: FakeTargetGroup) -> None:
        port = group.health_check_port
        check = Check(
            str(group.health_check_protocol),
            key[1],
            key[2] if port in (None, "traffic-port") else int(str(port)),
            group.health_check_path or "/",
            str((getattr(group, "matcher", None) or {}).get("HttpCode") or "200"),
            min(float(group.health_check_timeout_seconds), MAX_TIMEOUT_SECONDS),
        )
        result = target_health.FAILED
        try:
            result = target_health.probe(check)
        except ValueError as error:
            log.warning("health check of %s failed: %s", key, error)
        finally:
            with self._lock:
                before = record.health
                record.note(result, int(group.healthy_threshold_count), int(group.unhealthy_threshold_count))
                record.running = False
                if record.health != before:
                    changes.note()


def _targets() -> Iterator[tuple[Key, FakeTargetGroup]]:
    for _, _, backend in list(elbv2_backends.iter_backends()):
        groups: dict[str, FakeTargetGroup] = vars(backend)["target_groups"]
        for group in list(groups.values()):
            if checked(group):
                for target in list(group.targets.values()):
                    yield _key(group, target), group


def checked(group: FakeTargetGroup) -> bool:
    """Whether the group's targets are addresses that a load balancer in use would ask over HTTP."""
    return bool(
        group.target_type == "ip" and group.load_balancer_arns and group.health_check_protocol in ("HTTP", "HTTPS")
    )


def _key(group: FakeTargetGroup, target: dict[str, Any]) -> Key:
    return group.arn, target["Id"], int(target.get("Port") or group.port)


@cache
def checker() -> Checker:
    """The one checker of this process."""
    return Checker(settings.current().health_check_interval)


class UnsupportedCertificateError(ELBClientError):
    """A certificate that ACM has not issued; AWS says it as for any other that it can't use."""

    def __init__(self, arn: str) -> None:
        super().__init__(
            "UnsupportedCertificate",
            f"The certificate '{arn}' must have a fully-qualified domain name, a supported signature, "
            "and a supported key size.",
        )


class CertificateNotFoundError(ELBClientError):
    """A certificate that does not exist."""

    def __init__(self, arn: str) -> None:
        super().__init__("CertificateNotFound", f"Certificate '{arn}' not found")


def name_fault(name: str) -> str:
    """What AWS finds wrong with a load balancer's name; empty for a good one."""
    if len(name) > NAME_LENGTH:
        return f"cannot be longer than '{NAME_LENGTH}' characters"
    if not NAME.fullmatch(name):
        return "can only contain characters that are alphanumeric characters and hyphens(-)"
    if name.startswith("-") or name.endswith("-"):
        return "cannot begin or end with a hyphen(-)"
    return "cannot begin with 'internal-'" if name.startswith("internal-") else ""


class SandboxELBv2Backend(ELBv2Backend):
    """Load balancers of one account and region."""

    @property
    def _url_module(self) -> ModuleType:
        return urls

    def create_load_balancer(self, name: str, *arguments: Any, **options: Any) -> FakeLoadBalancer:
        """CreateLoadBalancer: refused under a name that AWS does not take, or in a single zone."""
        fault = name_fault(name)
        if fault:
            raise ValidationError("ValidationError", f"The load balancer name '{name}' {fault}")
        places = options.get("subnet_ids") or options.get("subnet_mappings") or []
        if len(places) == 1 and options.get("loadbalancer_type") in {None, "application"}:
            message = "At least two subnets in two different Availability Zones must be specified"
            raise ValidationError("ValidationError", message)
        return super().create_load_balancer(name, *arguments, **options)

    def create_listener(  # noqa: PLR0917 - moto's signature
        self,
        load_balancer_arn: str,
        protocol: str,
        port: str,
        ssl_policy: str,
        certificate: str | None,
        actions: list[dict[str, Any]],
        alpn_policy: list[str] | None = None,
        tags: list[dict[str, str]] | None = None,
    ) -> FakeListener:
        """CreateListener: refused with a certificate that is not issued."""
        self._check_issued([certificate] if certificate else [])
        return super().create_listener(
            load_balancer_arn, protocol, port, ssl_policy, certificate, actions, alpn_policy, tags
        )

    def modify_listener(  # noqa: PLR0917 - moto's signature
        self,
        arn: str,
        port: str | None = None,
        protocol: str | None = None,
        ssl_policy: str | None = None,
        certificates: list[dict[str, Any]] | None = None,
        actions: list[dict[str, Any]] | None = None,
    ) -> FakeListener:
        """ModifyListener: likewise."""
        self._check_issued([each["CertificateArn"] for each in certificates or []])
        return super().modify_listener(arn, port, protocol, ssl_policy, certificates, actions)

    def add_listener_certificates(self, arn: str, certificates: list[dict[str, Any]]) -> list[str]:
        """AddListenerCertificates: likewise."""
        self._check_issued([each["CertificateArn"] for each in certificates])
        return super().add_listener_certificates(arn, certificates)

    def _check_issued(self, arns: Iterable[str]) -> None:
        certificates = acm_backends[self.account_id][self.region_name]
        for arn in arns:
            try:
                issued = ":acm:" not in arn or certificates.get_certificate(arn).status == "ISSUED"
            except AWSResourceNotFoundException as error:
                raise CertificateNotFoundError(arn) from error
            if not issued:
                raise UnsupportedCertificateError(arn)

    def register_targets(self, target_group_arn: str, instances: list[Any]) -> None:
        """RegisterTargets."""
        super().register_targets(target_group_arn, instances)
        group = self.target_groups[target_group_arn]
        for target in instances:
            checker().registered(_key(group, target))

    def deregister_targets(self, target_group_arn: str, instances: list[dict[str, Any]]) -> None:
        """DeregisterTargets: succeeds for a target that is not there; the others drain."""
        group = self.target_groups.get(target_group_arn)
        known = [i for i in instances if group and i["Id"] in group.targets]
        if group:
            for target in known:
                delay = str(group.attributes["deregistration_delay.timeout_seconds"])
                if group.load_balancer_arns:
                    checker().drain(_key(group, {**group.targets[target["Id"]], **target}), float(delay))
        super().deregister_targets(target_group_arn, known)

    def describe_target_health(self, target_group_arn: str, targets: list[dict[str, Any]]) -> list[FakeHealthStatus]:
        """DescribeTargetHealth: registered targets and draining ones, or those asked for."""
        group = self.target_groups.get(target_group_arn)
        if group is None or group.target_type != "ip":
            return super().describe_target_health(target_group_arn, targets)
        draining = checker().draining(group.arn)
        asked = targets or [*group.targets.values(), *({"Id": k[1], "Port": k[2]} for k in draining)]
        answer = []
        for target in asked:
            key = _key(group, {**group.targets.get(target["Id"], {}), **target})
            health = self._health(group, key, draining)
            answer.append(
                FakeHealthStatus(
                    key[1],
                    str(key[2]),
                    str(key[2]) if group.health_check_port in (None, "traffic-port") else group.health_check_port,
                    health.state.value,
                    health.reason,
                    health.description,
                )
            )
        return answer

    def _health(self, group: FakeTargetGroup, key: Key, draining: list[Key]) -> Health:
        registered = group.targets.get(key[1])
        if registered is None or int(registered["Port"]) != key[2]:
            return target_health.DRAINING if key in draining else target_health.NOT_REGISTERED
        if not group.load_balancer_arns:
            return target_health.NOT_IN_USE
        return checker().health(key) if checked(group) else Health(State.HEALTHY)


def install() -> None:
    """Replace moto's backend."""
    models.elbv2_backends.backend = SandboxELBv2Backend
