"""The policies that an operator copies: docs/operator-policy-*.json, generated from preflight's list."""

import json
from itertools import pairwise
from typing import Any

import pytest
from ansible_collections.iotweb.deployment.plugins.filter.operator_policies import operator_policies

from tests.support.paths import ROOT

FILES = sorted((ROOT / "docs").glob("operator-policy-*.json"))
NAMES = {"partition": "aws", "region": "us-east-2", "account": "123456789012"}


def size(policy: dict[str, Any]) -> int:
    """Characters without white space, as IAM counts them."""
    return len("".join(json.dumps(policy).split()))


def test_the_documented_policies_fit_into_iams_limits() -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""
    assert 1 <= len(FILES) <= 10  # managed policies of a user or role
    assert [file.name for file in FILES if size(json.loads(file.read_text())) > 6144] == []


@pytest.mark.parametrize("count", [1, 40, 400])
def test_permissions_are_split_at_the_limit_and_none_is_lost(count: int) -> None:
    permissions = [{"actions": [f"iot:Action{number}"], "resources": [f"arn:{{partition}}:{number}"]}
                   for number in range(count)]  # fmt: skip
    policies = operator_policies(permissions, NAMES)
    assert [statement["Action"] for policy in policies for statement in policy["Statement"]] == [
        permission["actions"] for permission in permissions
    ]
    assert all(size(policy) <= 6144 for policy in policies)
    assert all(size(one) + size({"Statement": two["Statement"][:1]}) > 6144
               for one, two in pairwise(policies))  # fmt: skip
    assert policies[0]["Statement"][0]["Resource"] == ["arn:aws:0"]


def test_what_a_large_statement_leaves_is_filled() -> None:
    large = [{"actions": ["iot:Publish"], "resources": [letter * 4000]} for letter in "ab"]
    first, second = operator_policies([*large, {"actions": ["iot:ListThings"]}], NAMES)
    assert len(first["Statement"]) == 2
    assert len(second["Statement"]) == 1


def test_a_role_is_passed_to_its_service_alone() -> None:
    [policy] = operator_policies([{"actions": ["iam:PassRole"], "passed_to": "iot.amazonaws.com"}], NAMES)
    [statement] = policy["Statement"]
    assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "iot.amazonaws.com"}}


def test_no_action_is_a_pattern() -> None:
    """Each is one that the operator needs."""
    statements = [statement for file in FILES for statement in json.loads(file.read_text())["Statement"]]
    assert {action for statement in statements for action in statement["Action"] if "*" in action} == set()
