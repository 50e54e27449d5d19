"""Topic rule destinations of one account and region: their statuses and transitions.

https://docs.aws.amazon.com/iot/latest/developerguide/rule-destination.html
https://docs.aws.amazon.com/iot/latest/apireference/API_UpdateTopicRuleDestination.html
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from threading import RLock
from typing import Any
from urllib.parse import urlsplit

from moto.iot.exceptions import InvalidRequestException, IoTClientError, ResourceAlreadyExistsException

MAX_URL = 2000  # API_HttpUrlDestinationConfiguration: confirmationUrl


class Status(StrEnum):
    """Statuses of a destination, as the API names them."""

    IN_PROGRESS = "IN_PROGRESS"
    ENABLED = "ENABLED"
    DISABLED = "DISABLED"
    ERROR = "ERROR"
    DELETING = "DELETING"


class AccessDeniedError(IoTClientError):
    """What AWS answers for a destination or rule that does not exist.

    Seen and noted by hashicorp/terraform-provider-aws (internal/service/iot/topic_rule_destination.go).
    """

    def __init__(self, kind: str, name: str) -> None:
        super().__init__("UnauthorizedException", f"Access to {kind} '{name}' was denied")
        self.code = 401


@dataclass
class Destination:
    """One HTTP destination. `token_until` and `gone_at` are seconds of the monotonic clock."""

    arn: str
    confirmation_url: str
    status: Status = Status.IN_PROGRESS
    status_reason: str = ""
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    last_updated_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    token: str = ""
    token_until: float = 0.0
    gone_at: float | None = None

    def move(self, status: Status, reason: str = "") -> None:
        """Set the status and its reason; a former reason goes."""
        self.status, self.status_reason, self.last_updated_at = status, reason, datetime.now(UTC)

    def description(self) -> dict[str, Any]:
        """The API's TopicRuleDestination."""
        return {**self._common(), "httpUrlProperties": {"confirmationUrl": self.confirmation_url}}

    def summary(self) -> dict[str, Any]:
        """The API's TopicRuleDestinationSummary."""
        return {**self._common(), "httpUrlSummary": {"confirmationUrl": self.confirmation_url}}

    def _common(self) -> dict[str, Any]:
        return {
            "arn": self.arn,
            "status": self.status.value,
            "createdAt": self.created_at,
            "lastUpdatedAt": self.last_updated_at,
            "statusReason": self.status_reason or None,
        }


class Destinations:
    """The destinations of one account and region; safe for concurrent calls.

    `challenge(destination)` is called, outside the lock, whenever a confirmation message is due.
    With `unique`, a second destination for a URL is refused; AWS's guides do not say whether it is.
    """

    def __init__(
        self,
        arn_prefix: str,
        challenge: Callable[[Destination], None],
        token_lifetime: float,
        deletion_time: float,
        *,
        unique: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._unique = unique
        self._arn_prefix = arn_prefix
        self._challenge = challenge
        self._token_lifetime = token_lifetime
        self._deletion_time = deletion_time
        self._clock = clock
        self._all: dict[str, Destination] = {}
        self._lock = RLock()

    def create(self, configuration: Mapping[str, Any] | None) -> Destination:
        """CreateTopicRuleDestination. The challenge is on its way when this returns."""
        url = confirmation_url(configuration)
        with self._lock:
            existing = self.find(url)
            if existing and self._unique:
                raise ResourceAlreadyExistsException(
                    f"A destination with the confirmation URL {url} already exists",
                    existing.arn,
                    existing.arn,
                )
            arn = f"{self._arn_prefix}:ruledestination/http/{uuid.uuid4()}"
            destination = self._all[arn] = Destination(arn, url)
            self._renew_token(destination)
        self._challenge(destination)
        return destination

    def get(self, arn: str) -> Destination:
        """GetTopicRuleDestination."""
        with self._lock:
            self._settle()
            if arn not in self._all:
                raise AccessDeniedError("TopicRuleDestination", arn)
            return self._all[arn]

    def all(self) -> list[Destination]:
        """ListTopicRuleDestinations, oldest first; those being deleted are still listed."""
        with self._lock:
            self._settle()
            return list(self._all.values())

    def find(self, url: str) -> Destination | None:
        """The destination with this confirmation URL, unless it is being deleted."""
        same = (d for d in self.all() if d.confirmation_url == url and d.status is not Status.DELETING)
        return next(same, None)

    def confirm(self, token: str) -> Destination:
        """ConfirmTopicRuleDestination; a replaced, expired or unknown token is refused."""
        with self._lock:
            for destination in self.all():
                if secrets.compare_digest(destination.token.encode(), token.encode()) and token:
                    if destination.status is Status.IN_PROGRESS:
                        destination.move(Status.ENABLED)
                    return destination
        raise InvalidRequestException("The confirmation token is invalid or has expired")

    def update(self, arn: str, status: str) -> None:
        """UpdateTopicRuleDestination: IN_PROGRESS sends a new challenge, ENABLED and DISABLED switch."""
        with self._lock:
            destination = self.get(arn)
            now = destination.status
            if now is Status.DELETING:
                raise InvalidRequestException(f"The destination {arn} is being deleted")
            if status == Status.IN_PROGRESS:
                destination.move(Status.IN_PROGRESS)
                self._renew_token(destination)
            elif status not in (Status.ENABLED, Status.DISABLED):
                raise InvalidRequestException(f"The status of a destination cannot be set to {status!r}")
            elif now not in (Status.ENABLED, Status.DISABLED):
                raise InvalidRequestException(
                    f"A destination in status {now} cannot be set to {status}: it has not been confirmed"
                )
            elif now != status:
                destination.move(Status(status))
        if status == Status.IN_PROGRESS:
            self._challenge(destination)

    def delete(self, arn: str) -> None:
        """DeleteTopicRuleDestination: DELETING for a while, then gone."""
        with self._lock:
            destination = self.get(arn)
            if destination.status is not Status.DELETING:
                destination.move(Status.DELETING)
                destination.token = ""
                destination.gone_at = self._clock() + self._deletion_time

    def fail(self, destination: Destination, token: str, reason: str) -> None:
        """The challenge with this token failed; a newer challenge or a confirmation wins."""
        with self._lock:
            if destination.token == token and destination.status is Status.IN_PROGRESS:
                destination.move(Status.ERROR, reason)

    def _renew_token(self, destination: Destination) -> None:
        destination.token = secrets.token_urlsafe(96)
        destination.token_until = self._clock() + self._token_lifetime

    def _settle(self) -> None:
        """Expire tokens and finish deletions."""
        now = self._clock()
        for arn, destination in list(self._all.items()):
            if destination.gone_at is not None and now >= destination.gone_at:
                del self._all[arn]
            elif now >= destination.token_until and destination.token:
                destination.token = ""
                if destination.status is Status.IN_PROGRESS:
                    destination.move(Status.ERROR, "Confirmation timed out: the token has expired")


def confirmation_url(configuration: Mapping[str, Any] | None) -> str:
    """The confirmation URL of a TopicRuleDestinationConfiguration.

    Raises InvalidRequestException unless it is an https URL that AWS would accept.
    """
    http = (configuration or {}).get("httpUrlConfiguration")
    if not http or not isinstance(http.get("confirmationUrl"), str):
        raise InvalidRequestException("destinationConfiguration.httpUrlConfiguration.confirmationUrl is required")
    url = str(http["confirmationUrl"])
    check_https_url(url, "confirmationUrl")
    return url


def check_https_url(url: str, name: str) -> None:
    """Raise InvalidRequestException unless it is an https URL with a host, of at most 2000 characters."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or len(url) > MAX_URL or any(c.isspace() for c in url):
        raise InvalidRequestException(f"{name} must be a valid https URL, got {url!r}")
