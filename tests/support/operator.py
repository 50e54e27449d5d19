"""What an operator's rights are for: seen in use (CALLS), or why they were not (UNSEEN)."""

import json

from tests.support.paths import ROOT

# What the emulated AWS's /sandbox/calls showed of operators that deployed, changed, rotated, redrove and tore down.
CALLS = ROOT / "tests/support/operator_calls.json"
UNSEEN: dict[str, list[str]] = {
    "the sandbox's EKS needs no such role": ["iam:CreateServiceLinkedRole"],
    "the sandbox's registry does not ask IAM": [
        "ecr:BatchCheckLayerAvailability", "ecr:CompleteLayerUpload", "ecr:InitiateLayerUpload", "ecr:PutImage",
        "ecr:UploadLayerPart",
    ],
    "the sandbox's state is a file on this machine": [
        "s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject",
    ],
    "only a log group that EKS made anew before Terraform looks has no tags": ["logs:DescribeLogStreams"],
    "the recorded life changes no destination and enables no rule; tests/collection has the modules call it": [
        "iot:EnableTopicRule", "iot:GetPolicyVersion", "iot:GetTopicRuleDestination", "iot:SetDefaultPolicyVersion",
        "iot:UpdateTopicRuleDestination",
    ],
    "the recorded life leaves queues as they are": ["sqs:SetQueueAttributes"],
}  # fmt: skip


def unseen() -> set[str]:
    """Actions that were not seen in use."""
    return {action for actions in UNSEEN.values() for action in actions}


def allowed() -> set[str]:
    """Actions that the documented policies allow."""
    policies = [json.loads(file.read_text()) for file in (ROOT / "docs").glob("operator-policy-*.json")]
    return {action for policy in policies for statement in policy["Statement"] for action in statement["Action"]}
