"""What the broker's answers mean: for the device, which behaves accordingly, and for the person who runs it.

MQTT 5.0, 2.4 Reason Code; AWS IoT Core developer guide, "MQTT 5 reason codes".
"""

from dataclasses import dataclass
from enum import Enum


class Behaviour(Enum):
    """What a device does about a refusal. Whatever it does, a reading leaves the spool only when it is set aside."""

    RETRY = "send it again"
    SLOW = "publish less often"
    ASIDE = "keep the reading apart: it will never be taken"
    IDENTITY = "wait long: this is about who the device is, so trying again can't help"


FIXES = {
    "NOT_AUTHORIZED": "the certificate must be active, attached to the thing, and carry the policy; the policy"
    " lets a thing connect under its own name only, and publish to its topic only",
    "BAD_USERNAME_OR_PASSWORD": "the broker does not accept this certificate: it may be inactive, revoked,"
    " or of another account",
    "CLIENT_IDENTIFIER_NOT_VALID": "the thing's name must be 1 to 128 characters",
    "QUOTA_EXCEEDED": "AWS takes 100 publishes a second from one connection: publish less often",
    "MESSAGE_RATE_TOO_HIGH": "AWS takes 100 publishes a second from one connection: publish less often",
    "CONNECTION_RATE_EXCEEDED": "the device connects too often: is another one running under the same name?",
    "SESSION_TAKEN_OVER": "another client connected under this thing's name: each thing may be used once",
    "PACKET_TOO_LARGE": "AWS takes 128 KiB a message",
    "TOPIC_NAME_INVALID": "the topic has at most 7 slashes and 256 bytes, and no wildcard",
    "AWS_IO_DNS_INVALID_NAME": "the endpoint's name is not known: is it right, and does the host resolve names?",
    "AWS_IO_DNS_QUERY_FAILED": "the endpoint's name is not known: is it right, and does the host resolve names?",
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
ASIDE = ("PACKET_TOO_LARGE", "PAYLOAD_FORMAT_INVALID", "AWS_ERROR_MQTT5_PACKET_VALIDATION")


@dataclass(frozen=True)
class Refusal:
    """Why the broker did not take something: the name of a reason code or of a transport error."""

    name: str
    detail: str = ""
    answered: bool = False
    """Whether the broker itself said so, and not the line."""

    @property
    def behaviour(self) -> Behaviour:
        """What to do about it."""
        if "TLS" in self.name or self.name in IDENTITY:
            return Behaviour.IDENTITY
        if self.name in SLOW:
            return Behaviour.SLOW
        return Behaviour.ASIDE if self.name in ASIDE else Behaviour.RETRY

    @property
    def lasting(self) -> bool:
        """Whether trying again can't help."""
        return self.behaviour is Behaviour.IDENTITY

    @property
    def fix(self) -> str:
        """What a person can do about it; empty where nobody knows."""
        return FIXES.get(self.name) or (TLS_FIX if "TLS" in self.name else "")

    def __str__(self) -> str:
        return "".join([self.name, f" ({self.detail})" if self.detail else "", f": {self.fix}" if self.fix else ""])
