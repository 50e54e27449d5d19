"""What the broker's answers mean for the device, and for the person who runs it.

MQTT 5.0, 2.4 Reason Code; AWS IoT Core developer guide, "MQTT 5 reason codes".
"""

from dataclasses import dataclass
from enum import Enum


class Behaviour(Enum):
    """What a device does about a refusal. It keeps the reading in any case."""

    RETRY = "send it again"
    SLOW = "publish less often"
    QUARANTINE = "quarantine the reading: it will never be accepted"
    IDENTITY = "wait long: the device itself is refused, so retrying cannot help"


FIXES = {
    "NOT_AUTHORIZED": "the certificate must be active, attached to the thing, and carry the policy; the policy"
    " lets a thing connect under its own name only, and publish to its topic only",
    "BAD_USERNAME_OR_PASSWORD": "the broker does not accept this certificate: it may be inactive, revoked,"
    " or of another account",
    "CLIENT_IDENTIFIER_NOT_VALID": "the thing's name must be 1 to 128 characters",
    "QUOTA_EXCEEDED": "AWS allows one connection 100 publishes a second: publish less often",
    "MESSAGE_RATE_TOO_HIGH": "AWS allows one connection 100 publishes a second: publish less often",
    "CONNECTION_RATE_EXCEEDED": "the device connects too often: is another one running under the same name?",
    "SESSION_TAKEN_OVER": "another client connected under this thing's name: use each thing on one host only",
    "PACKET_TOO_LARGE": "AWS allows 128 KiB a message",
    "TOPIC_NAME_INVALID": "a topic may have 7 slashes, 256 bytes and no wildcard",
    "AWS_IO_DNS_INVALID_NAME": "the endpoint's name cannot be resolved: is it right, and does this host resolve names?",
    "AWS_IO_DNS_QUERY_FAILED": "the endpoint's name cannot be resolved: is it right, and does this host resolve names?",
    "AWS_IO_SOCKET_CONNECTION_REFUSED": "nothing listens there: are endpoint and port right?",
    "AWS_IO_SOCKET_TIMEOUT": "nothing answers: does a firewall let the port through?",
}
TLS_FIX = (
    "the broker's certificate must come from the authority in the setting ca, and the device's from the"
    " broker's account; a certificate that is revoked or inactive fails here too"
)
IDENTITY = ("NOT_AUTHORIZED", "BAD_USERNAME_OR_PASSWORD", "CLIENT_IDENTIFIER_NOT_VALID", "BANNED",
            "TOPIC_NAME_INVALID", "BAD_AUTHENTICATION_METHOD")  # fmt: skip
SLOW = ("QUOTA_EXCEEDED", "MESSAGE_RATE_TOO_HIGH", "CONNECTION_RATE_EXCEEDED", "RECEIVE_MAXIMUM_EXCEEDED",
        "SERVER_BUSY")  # fmt: skip
QUARANTINE = ("PACKET_TOO_LARGE", "PAYLOAD_FORMAT_INVALID", "AWS_ERROR_MQTT5_PACKET_VALIDATION")


@dataclass(frozen=True)
class Refusal:
    """Why the broker did not accept something: the name of a reason code or of a transport error."""

    name: str
    detail: str = ""
    answered: bool = False
    """Whether the broker said so itself, rather than the network."""

    @property
    def behaviour(self) -> Behaviour:
        """What the device does about it."""
        if "TLS" in self.name or self.name in IDENTITY:
            return Behaviour.IDENTITY
        if self.name in SLOW:
            return Behaviour.SLOW
        return Behaviour.QUARANTINE if self.name in QUARANTINE else Behaviour.RETRY

    @property
    def lasting(self) -> bool:
        """Whether retrying cannot help."""
        return self.behaviour is Behaviour.IDENTITY

    @property
    def fix(self) -> str:
        """What a person can do about it; empty if unknown."""
        return FIXES.get(self.name) or (TLS_FIX if "TLS" in self.name else "")

    def __str__(self) -> str:
        return "".join([self.name, f" ({self.detail})" if self.detail else "", f": {self.fix}" if self.fix else ""])
