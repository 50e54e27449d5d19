"""What the broker's answers mean for the person who runs the device.

MQTT 5.0, 2.4 Reason Code; AWS IoT Core developer guide, "MQTT 5 reason codes".
"""

from dataclasses import dataclass

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
}
TLS_FIX = (
    "the broker's certificate must come from the authority in the setting ca, and the device's from the"
    " broker's account; a certificate that is revoked or inactive fails here too"
)


@dataclass(frozen=True)
class Refusal:
    """Why the broker did not take something: the name of a reason code or of a transport error."""

    name: str
    detail: str = ""

    @property
    def lasting(self) -> bool:
        """Whether trying again can't help: this is about who the device is, not about the line or the load."""
        return "TLS" in self.name or self.name in (
            "NOT_AUTHORIZED",
            "BAD_USERNAME_OR_PASSWORD",
            "CLIENT_IDENTIFIER_NOT_VALID",
            "BANNED",
        )

    def __str__(self) -> str:
        fix = FIXES.get(self.name) or (TLS_FIX if "TLS" in self.name else "")
        return "".join([self.name, f" ({self.detail})" if self.detail else "", f": {fix}" if fix else ""])
