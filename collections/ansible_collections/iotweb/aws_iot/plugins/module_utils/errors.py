# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What to do about an error of AWS IoT, in the user's words."""

from __future__ import annotations

import re
from typing import Any

NAMING = ("ruleName", "policyName", "thingName", "thingTypeName", "certificateId", "arn", "resourceArn")
DENIED = ("AccessDeniedException", "UnauthorizedException", "ForbiddenException")
CREDENTIALS = (
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "UnrecognizedClientException",
)
ADVICE = {
    "CertificateStateException": "Its status allows no such change: look at it with iot_certificate_info.",
    "DeleteConflictException": "Something is still attached to it: detach that first.",
    "InvalidStateTransitionException": "Its status allows no such change.",
    "LimitExceededException": "A quota of AWS IoT is reached: remove what is not used, or ask AWS to raise it.",
    "MalformedPolicyException": "Correct the document: it needs Version and Statement.",
    "ResourceAlreadyExistsException": "Another run made it at the same time: run again.",
    "ResourceNotFoundException": "What it names does not exist: create that first.",
    "SqlParseException": "Correct sql.",
    "ThrottlingException": "AWS still throttles after many tries: run again later, or fewer at a time.",
    "TransferConflictException": "The certificate is on its way to another account: cancel or accept that first.",
    "VersionsLimitExceededException": "Others write versions of this policy at the same time: run again.",
}
PASS_ROLE = re.compile(r"iam:PassRole", re.IGNORECASE)
NOT_ASSUMABLE = re.compile(r"assume ?role|assume the role|unable to assume", re.IGNORECASE)


def subject(arguments: dict[str, Any]) -> str:
    """Return what a call was about, for a message: the names and ARNs among its arguments, never values."""
    named = [str(arguments[name]) for name in NAMING if name in arguments]
    named += [str(arguments[name]) for name in ("target", "principal") if name in arguments]
    return f" of {' and '.join(named)}" if named else ""


def action_of(operation: str) -> str:
    """Return the IAM action of a call: create_topic_rule is iot:CreateTopicRule."""
    return "iot:" + "".join(part.capitalize() for part in operation.split("_"))


def advice(code: str, text: str, operation: str) -> str:
    """Return what to do about an error's code and text; empty where the text must do."""
    if "Unknown parameter in" in text:
        return "Correct the name, or update boto3: it knows the API's fields as of its release."
    if PASS_ROLE.search(text):
        return "Allow the caller iam:PassRole on the role that the actions name."
    if NOT_ASSUMABLE.search(text):
        return "The role must exist, and its trust policy must let iot.amazonaws.com assume it."
    if code in DENIED:
        return f"Allow the caller {action_of(operation)}, and check the name."
    if code in CREDENTIALS:
        return "Check the credentials (access_key, secret_key, session_token, or profile) and the clock."
    return ADVICE.get(code, "")
