"""The emulator's settings, read from the environment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path


class SettingsError(ValueError):
    """A variable of the environment has a value that cannot be used; the message names it."""


@dataclass(frozen=True)
class KubernetesNode:
    """A node of the real cluster that stands for an EC2 instance.

    `folder` is that of a spare node, with its program `boot`.
    """

    name: str
    zone: str
    pod_range: IPv4Network
    folder: Path | None = None


@dataclass(frozen=True)
class Settings:
    """The emulator's settings; a part that is not configured answers as plain moto does.

    Durations are in seconds.
    """

    account_id: str = "123456789012"
    public_url: str = ""
    hosted_zones: tuple[str, ...] = ()
    credentials_file: Path | None = None
    ca_dir: Path = Path("ca")
    ca_bundle: Path | None = None
    acm_dir: Path | None = None
    iot_endpoint_prefix: str = "sandbox"
    iot_challenge_timeout: float = 10.0
    iot_token_lifetime: float = 3 * 24 * 3600.0
    iot_deletion_time: float = 2.0
    iot_unique_destinations: bool = True
    iot_quoted_arn: bool = True
    route53_sync_time: float = 1.0
    name_server: tuple[str, int] | None = None
    load_balancer_address: str = "127.0.0.1"
    quota_vcpus: float = 5.0
    quota_addresses: float = 5.0
    dynamodb_url: str = ""
    dynamodb_calls_file: Path | None = None
    kubernetes_endpoint: str = ""
    kubernetes_issuer: str = ""
    kubeconfig: Path | None = None
    kubernetes_nodes: tuple[KubernetesNode, ...] = field(default=())
    spare_nodes: tuple[KubernetesNode, ...] = field(default=())
    registry_url: str = ""
    registry_token_file: Path | None = None
    health_check_interval: float = 1.0


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    value = environment.get(name, "")
    return Path(value) if value else None


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    return _number(environment, name, default, "number of seconds")


def _number(environment: Mapping[str, str], name: str, default: float, kind: str = "number") -> float:
    value = environment.get(name, "")
    try:
        return float(value) if value else default
    except ValueError:
        raise SettingsError(f"{name}={value!r}: give a {kind}") from None


def _endpoint(environment: Mapping[str, str], name: str) -> tuple[str, int] | None:
    address, _, port = environment.get(name, "").rpartition(":")
    if address and port.isdecimal():
        return address, int(port)
    if port:
        raise SettingsError(f"{name}={environment[name]!r}: give an address and a port, such as 127.0.0.1:53")
    return None


def parse_nodes(text: str, name: str = "SANDBOX_KUBERNETES_NODES") -> tuple[KubernetesNode, ...]:
    """Read `[{name, zone, pod_range, folder}, …]`, given as JSON or as the path of a JSON file."""
    if not text:
        return ()
    try:
        items = json.loads(text if text.lstrip().startswith("[") else Path(text).read_text(encoding="utf-8"))
        return tuple(
            KubernetesNode(i["name"], i["zone"], IPv4Network(i["pod_range"]), _path(i, "folder")) for i in items
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{name}={text!r}: give [{{name, zone, pod_range}}], or a file of it: {error!r}") from error


def read(environment: Mapping[str, str]) -> Settings:
    """Settings from `SANDBOX_*` variables.

    Raises SettingsError for a value that cannot be used.
    """
    default = Settings()
    ca_dir = _path(environment, "SANDBOX_CA_DIR") or default.ca_dir
    return Settings(
        account_id=environment.get("SANDBOX_AWS_ACCOUNT_ID") or default.account_id,
        public_url=environment.get("SANDBOX_PUBLIC_URL", "").rstrip("/"),
        hosted_zones=tuple(environment.get("SANDBOX_HOSTED_ZONES", "").split()),
        credentials_file=_path(environment, "SANDBOX_CREDENTIALS_FILE"),
        ca_dir=ca_dir,
        ca_bundle=_path(environment, "SANDBOX_CA_BUNDLE"),
        acm_dir=_path(environment, "SANDBOX_ACM_DIR"),
        iot_endpoint_prefix=environment.get("SANDBOX_IOT_ENDPOINT_PREFIX") or default.iot_endpoint_prefix,
        iot_challenge_timeout=_seconds(environment, "SANDBOX_IOT_CHALLENGE_TIMEOUT", default.iot_challenge_timeout),
        iot_token_lifetime=_seconds(environment, "SANDBOX_IOT_TOKEN_LIFETIME", default.iot_token_lifetime),
        iot_deletion_time=_seconds(environment, "SANDBOX_IOT_DELETION_TIME", default.iot_deletion_time),
        iot_unique_destinations=environment.get("SANDBOX_IOT_UNIQUE_DESTINATIONS", "true") != "false",
        iot_quoted_arn=environment.get("SANDBOX_IOT_QUOTED_ARN", "true") != "false",
        route53_sync_time=_seconds(environment, "SANDBOX_ROUTE53_SYNC_TIME", default.route53_sync_time),
        name_server=_endpoint(environment, "SANDBOX_NAME_SERVER"),
        load_balancer_address=environment.get("SANDBOX_LOAD_BALANCER_ADDRESS") or default.load_balancer_address,
        quota_vcpus=_number(environment, "SANDBOX_QUOTA_VCPUS", default.quota_vcpus),
        quota_addresses=_number(environment, "SANDBOX_QUOTA_ADDRESSES", default.quota_addresses),
        dynamodb_url=environment.get("SANDBOX_DYNAMODB_URL", "").rstrip("/"),
        dynamodb_calls_file=_path(environment, "SANDBOX_DYNAMODB_CALLS_FILE"),
        kubernetes_endpoint=environment.get("SANDBOX_KUBERNETES_ENDPOINT", "").rstrip("/"),
        kubernetes_issuer=environment.get("SANDBOX_KUBERNETES_ISSUER", "").rstrip("/"),
        kubeconfig=_path(environment, "SANDBOX_KUBECONFIG"),
        kubernetes_nodes=parse_nodes(environment.get("SANDBOX_KUBERNETES_NODES", "")),
        spare_nodes=parse_nodes(environment.get("SANDBOX_SPARE_NODES", ""), "SANDBOX_SPARE_NODES"),
        registry_url=environment.get("SANDBOX_REGISTRY_URL", "").rstrip("/"),
        registry_token_file=_path(environment, "SANDBOX_REGISTRY_TOKEN_FILE"),
        health_check_interval=_seconds(environment, "SANDBOX_HEALTH_CHECK_INTERVAL", default.health_check_interval),
    )


@cache
def current() -> Settings:
    """The settings of this process."""
    return read(os.environ)
