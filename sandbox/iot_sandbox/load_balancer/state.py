"""The part of the emulated state that decides where a request goes. Values only; no calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class Target:
    """An address that a target group may send requests to."""

    address: str
    port: int
    health: str = "healthy"


@dataclass(frozen=True)
class TargetGroup:
    """A target group; ``attributes`` are ELBv2's own keys and strings."""

    arn: str
    name: str
    protocol: str = "HTTP"
    attributes: Mapping[str, str] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()

    @property
    def deregistration_delay(self) -> int:
        """Seconds that requests in flight may take once a target is deregistered (AWS default: 300)."""
        return int(self.attributes.get("deregistration_delay.timeout_seconds", "300"))

    def states(self) -> dict[tuple[str, int], str]:
        """Registered targets, each ``ready`` (takes new requests) or ``drain`` (finishes its own).

        As on AWS, a group whose targets are all unhealthy sends to every one of them ("fail open"),
        while targets that have not been checked yet get nothing.
        """
        healthy = any(target.health == "healthy" for target in self.targets)
        taking = "healthy" if healthy else "unhealthy"
        return {
            (target.address, target.port): "ready" if target.health == taking else "drain"
            for target in self.targets
        }


@dataclass(frozen=True)
class Forward:
    """Send to a target group."""

    group: str  # its ARN


@dataclass(frozen=True)
class FixedResponse:
    """Answer at once."""

    status: int
    content_type: str
    body: str


Action = Forward | FixedResponse


@dataclass(frozen=True)
class Condition:
    """One condition of a rule: it holds when any of its values matches. ``field`` is ELBv2's name."""

    field: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """All conditions must hold. ``priority`` is ELBv2's own: a number, or ``default``."""

    priority: str
    conditions: tuple[Condition, ...]
    action: Action


@dataclass(frozen=True)
class Listener:
    """A port of a load balancer; rules in order of priority, the default one last."""

    port: int
    protocol: str
    rules: tuple[Rule, ...]
    policy: str = ""
    certificates: tuple[str, ...] = ()  # ids, the default one first


@dataclass(frozen=True)
class LoadBalancer:
    """An Application Load Balancer; ``aliases`` are the records that lead to it."""

    name: str
    dns_name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    listeners: tuple[Listener, ...] = ()
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every host name that resolves to this load balancer."""
        return (self.dns_name, *self.aliases)

    @property
    def idle_timeout(self) -> int:
        """Seconds without a byte after which a connection is closed (AWS default: 60)."""
        return int(self.attributes.get("idle_timeout.timeout_seconds", "60"))


@dataclass(frozen=True)
class Policy:
    """A TLS policy: protocol names as ``TLSv1.2``, ciphers by OpenSSL's names."""

    protocols: tuple[str, ...]
    ciphers: tuple[str, ...]


@dataclass(frozen=True)
class State:
    """Everything that HAProxy serves. Load balancers are oldest first."""

    load_balancers: tuple[LoadBalancer, ...] = ()
    target_groups: Mapping[str, TargetGroup] = field(default_factory=dict)  # by ARN
    policies: Mapping[str, Policy] = field(default_factory=dict)  # by name
