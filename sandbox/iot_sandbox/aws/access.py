"""IAM enforced: a call by a role's session or a user is refused unless the principal's policies allow it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html (how AWS words a refusal)

The operator, whose key is no user's, may do all. Every condition counts as met, and a call whose resource does not
follow from the request may be about any: what is refused here, AWS refuses as well, but not the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from moto.iam.models import Group, Role, User, iam_backends
from moto.sts.models import sts_backends

from iot_sandbox.aws import errors
from iot_sandbox.aws.settings import Settings
from iot_sandbox.shared import policies

PARTITION = "aws"
# Calls that no policy can forbid: https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
FREE = {"sts:GetCallerIdentity", "sts:AssumeRoleWithWebIdentity"}
NOT_JUDGED = {"s3"}  # its actions are named otherwise than its calls
# What follows the account in the ARN of what a call names.
RESOURCES = {"dynamodb": "table/{}", "sqs": "{}"}


def attached(holders: Sequence[Role | User | Group]) -> Iterator[str]:
    """Inline policies and the default versions of managed ones, as JSON."""
    for each in holders:
        yield from (str(document) for document in each.policies.values())
        for policy in each.managed_policies.values():
            yield from (str(v.document) for v in policy.versions if v.version_id == policy.default_version_id)


def principal(config: Settings, access_key: str) -> tuple[str, list[str]] | None:
    """ARN of a session or user and its policies (JSON); None for the operator's key, which may do all."""
    iam = iam_backends[config.account_id][PARTITION]
    session = sts_backends[config.account_id][PARTITION].get_assumed_role_from_access_key(access_key)
    if session:
        roles = [role for role in list(iam.roles.values()) if role.arn == session.role_arn]
        return str(session.arn), list(attached(roles))
    for user in list(iam.users.values()):
        if any(key.access_key_id == access_key for key in user.access_keys):
            groups = [group for group in iam.groups.values() if user in group.users]
            return str(user.arn), list(attached([user, *groups]))
    return None


def refusal(config: Settings, access_key: str, action: str, resource: str, region: str) -> str:
    """Why AWS refuses a call, in its words; empty for one that is allowed."""
    service = action.partition(":")[0]
    if action in FREE or service in NOT_JUDGED:
        return ""
    found = principal(config, access_key)
    if found is None:
        return ""
    who, documents = found
    arn = _arn(config, service, resource, region)
    decision = policies.decide(documents, action, arn, None)
    if decision is policies.Decision.ALLOWED:
        return ""
    about = f"User: {who} is not authorized to perform: {action}" + (f" on resource: {arn}" if arn else "")
    if decision is policies.Decision.DENIED:
        return f"{about} with an explicit deny in an identity-based policy"
    return f"{about} because no identity-based policy allows the {action} action"


def _arn(config: Settings, service: str, resource: str, region: str) -> str | None:
    """The ARN of what a call names, None where it does not follow from that."""
    if resource.startswith("arn:"):
        return resource
    if not resource or service not in RESOURCES:
        return None
    name = RESOURCES[service].format(resource.rpartition("/")[2])
    return f"arn:{PARTITION}:{service}:{region}:{config.account_id}:{name}"


def denied(environ: Mapping[str, Any], reason: str) -> errors.Answer:
    """The refusal in the form of the request's protocol."""
    service = errors.service_of(environ)
    if service == "ec2":
        words = f"You are not authorized to perform this operation. {reason}"
        return errors.error(environ, 403, "UnauthorizedOperation", words)
    if environ.get("HTTP_X_AMZ_TARGET") and service != "sqs":
        return errors.error(environ, 400, "AccessDeniedException", reason)
    query = "form-urlencoded" in environ.get("CONTENT_TYPE", "") or service in {"sqs", *errors.XML_SERVICES}
    return errors.error(environ, 403, "AccessDenied" if query else "AccessDeniedException", reason)
