"""Health checks of load balancer targets, as an Application Load Balancer makes them.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/target-group-health-checks.html
"""

from __future__ import annotations

import http.client
import ssl
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    """States of a target, as the API names them."""

    INITIAL = "initial"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    DRAINING = "draining"
    UNUSED = "unused"


@dataclass(frozen=True)
class Health:
    """A state with AWS's reason code and description; a healthy target has neither."""

    state: State
    reason: str | None = None
    description: str | None = None


HEALTHY = Health(State.HEALTHY)
INITIAL = Health(State.INITIAL, "Elb.InitialHealthChecking", "Initial health checks in progress")
TIMEOUT = Health(State.UNHEALTHY, "Target.Timeout", "Request timed out")
FAILED = Health(State.UNHEALTHY, "Target.FailedHealthChecks", "Health checks failed")
NOT_IN_USE = Health(
    State.UNUSED,
    "Target.NotInUse",
    "Target group is not configured to receive traffic from the load balancer",
)
NOT_REGISTERED = Health(State.UNUSED, "Target.NotRegistered", "Target is not registered to the target group")
DRAINING = Health(State.DRAINING, "Target.DeregistrationInProgress", "Target deregistration is in progress")


@dataclass(frozen=True)
class Check:
    """A health check of one target. `timeout` is in seconds."""

    protocol: str
    address: str
    port: int
    path: str
    codes: str
    timeout: float


def probe(check: Check) -> Health:
    """Check the target once: HEALTHY, or why not. Redirects are not followed, certificates not verified."""
    connection: http.client.HTTPConnection
    if check.protocol == "HTTPS":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(check.address, check.port, timeout=check.timeout, context=context)
    else:
        connection = http.client.HTTPConnection(check.address, check.port, timeout=check.timeout)
    try:
        with closing(connection):
            connection.request(
                "GET", check.path, headers={"User-Agent": "ELB-HealthChecker/2.0", "Connection": "close"}
            )
            status = connection.getresponse().status
    except TimeoutError:
        return TIMEOUT
    except (OSError, http.client.HTTPException):
        return FAILED
    if matches(check.codes, status):
        return HEALTHY
    reason = f"Health checks failed with these codes: [{status}]"
    return Health(State.UNHEALTHY, "Target.ResponseCodeMismatch", reason)


def matches(codes: str, status: int) -> bool:
    """Whether a matcher such as `200,204` or `200-299` takes the status."""
    for part in codes.split(","):
        low, _, high = part.strip().partition("-")
        if int(low) <= status <= int(high or low):
            return True
    return False


@dataclass
class Record:
    """Results of a target's checks; AWS's thresholds decide when its state changes.

    The first success makes a new target healthy; later, as many successes or failures in a row as the
    target group asks for.
    """

    health: Health = INITIAL
    successes: int = 0
    failures: int = 0
    due: float = 0.0
    running: bool = field(default=False)

    def note(self, result: Health, healthy_threshold: int, unhealthy_threshold: int) -> None:
        """Take one check's result."""
        if result.state is State.HEALTHY:
            self.successes, self.failures = self.successes + 1, 0
            if self.health.state is State.INITIAL or self.successes >= healthy_threshold:
                self.health = HEALTHY
        else:
            self.successes, self.failures = 0, self.failures + 1
            if self.health.state is State.UNHEALTHY or self.failures >= unhealthy_threshold:
                self.health = result
