"""What each role called while the tests before this file ran: nothing that it may not, and all that it may."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.deployment.conftest import ENDPOINT

Aws = Callable[[str], Any]
ROLE = "arn:aws:iam::123456789012:role/"
# get_secret's documentation asks for it; the sandbox's rules engine looks the secret up by itself.
NEVER_CALLED = {"iot-receiver-rule": {"secretsmanager:DescribeSecret"}}


def called(role: str) -> dict[str, set[str]]:
    """The resources of each action that a role called, as the calls named them (none where DynamoDB counted itself)."""
    record = requests.get(f"{ENDPOINT}/sandbox/calls", timeout=10).json()
    assert record["left_out"] == 0
    found: dict[str, set[str]] = {}
    for call in record["calls"]:
        if call["principal"] == ROLE + role:
            found.setdefault(call["action"], set()).add(call["resource"])
    return found


def allowed(aws: Aws, role: str) -> set[str]:
    """The actions that a role's policy names."""
    iam = aws("iam")
    [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    policy = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    actions = [statement["Action"] for statement in policy["Statement"]]
    return {action for each in actions for action in ([each] if isinstance(each, str) else each)}


def test_the_page_only_queries_and_lists(aws: Aws) -> None:
    assert allowed(aws, "iot-receiver-readings") == {"dynamodb:Query", "iot:ListThings"}
    assert called("iot-receiver-readings").keys() == {"dynamodb:Query", "iot:ListThings"}


@pytest.mark.parametrize("role", ["iot-receiver-pod", "iot-receiver-redrive", "iot-receiver-rule"])
def test_a_role_uses_what_it_may_and_nothing_else(aws: Aws, role: str) -> None:
    if not called("iot-receiver-redrive"):
        pytest.skip("no dead letters were redriven: run tests/deployment as a whole")
    assert called(role).keys() == allowed(aws, role) - NEVER_CALLED.get(role, set())
