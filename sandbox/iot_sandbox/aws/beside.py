"""What IAM asks for beside a call's own action: tags given at creation, roles handed over, and what EKS does for it.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
(dependent actions, and each service's notes on tags)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

LARGEST = 1_000_000  # bytes of a body that is looked into
TAGGING = {
    "acm": "AddTagsToCertificate",
    "cloudwatch": "TagResource",
    "dynamodb": "TagResource",
    "ec2": "CreateTags",
    "ecr": "TagResource",
    "eks": "TagResource",
    "elasticloadbalancing": "AddTags",
    "iot": "TagResource",
    "kms": "TagResource",
    "logs": "TagResource",
    "secretsmanager": "TagResource",
    "sqs": "TagQueue",
    "ssm": "AddTagsToResource",
}
OF_IAM = {"CreateInstanceProfile": "TagInstanceProfile", "CreateOpenIDConnectProvider": "TagOpenIDConnectProvider",
          "CreatePolicy": "TagPolicy", "CreateRole": "TagRole", "CreateUser": "TagUser"}  # fmt: skip
CREATING = ("Create", "Put", "Request", "Run", "Allocate")
HANDING_OVER = {
    "eks:CreateAddon": "serviceAccountRoleArn",
    "eks:CreateCluster": "roleArn",
    "eks:CreateNodegroup": "nodeRole",
    "eks:UpdateAddon": "serviceAccountRoleArn",
    "iam:AddRoleToInstanceProfile": "RoleName",
    "iot:CreateTopicRule": "roleArn",
    "iot:ReplaceTopicRule": "roleArn",
    "iot:SetV2LoggingOptions": "roleArn",
}
# What EKS does as the caller where a member of the request asks for it.
USING = {
    "eks:CreateCluster": ("encryptionConfig", "kms:CreateGrant"),
    "eks:CreateNodegroup": ("launchTemplate", "ec2:RunInstances"),
}
# EC2 user guide, "Set up permissions for EC2 Fleet"; the role is that of the template's instance profile.
FLEET = ("ec2:RunInstances", "iam:PassRole")


def asked(action: str, environ: Mapping[str, Any], body: bytes) -> Iterator[tuple[str, str]]:
    """Further actions that a call needs, each with its resource (empty where the call does not name it)."""
    service, _, operation = action.partition(":")
    if not operation.startswith(CREATING) and action not in HANDING_OVER:
        return
    form = "form-urlencoded" in environ.get("CONTENT_TYPE", "")
    if len(body) > LARGEST:
        return
    parameters: Any = dict(parse_qsl(body.decode(errors="replace"))) if form else _document(body)
    tagging = OF_IAM.get(operation, "") if service == "iam" else TAGGING.get(service, "")
    if tagging and tagging != operation and (_tagged(parameters) or environ.get("HTTP_X_AMZ_TAGGING")):
        yield f"{service}:{tagging}", ""
    if action == "ec2:CreateFleet":
        yield from ((each, "") for each in FLEET)
    if action in USING and USING[action][0] in parameters:
        yield USING[action][1], ""
    if action in HANDING_OVER:
        for role in sorted(set(_found(parameters, HANDING_OVER[action]))):
            yield "iam:PassRole", role


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _tagged(parameters: Mapping[str, Any]) -> bool:
    """Whether tags are given: as JSON's `Tags` or `tags`, or a form's `Tags.member.1.Key`, `TagSpecification.1.…`."""
    return any(
        value and name.partition(".")[0] in {"Tag", "Tags", "tags", "TagSpecification"}
        for name, value in parameters.items()
    )


def _found(part: Any, name: str) -> Iterator[str]:
    """Values of a member anywhere in a document."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == name and isinstance(value, str) and value:
                yield value
            else:
                yield from _found(value, name)
    elif isinstance(part, list):
        for each in part:
            yield from _found(each, name)
