"""What each role and the operator called while the tests before this file ran: nothing beside what they may."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.deployment.colleague import Operator
from tests.deployment.colleague import called as called_by
from tests.deployment.conftest import ENDPOINT
from tests.deployment.rights import allowed
from tests.support.operator import allowed as allowed_by_documents
from tests.support.operator import unseen

Aws = Callable[[str], Any]
ROLE = "arn:aws:iam::123456789012:role/"
# get_secret's documentation asks for it; the sandbox's rules engine looks the secret up by itself.
NEVER_CALLED = {"iot-receiver-rule": {"secretsmanager:DescribeSecret"}}


def called(role: str) -> dict[str, set[str]]:
    """The resources of each action that a role called (none where DynamoDB counted itself)."""
    return called_by(ENDPOINT, ROLE + role)


def test_the_page_only_queries_and_lists(aws: Aws) -> None:
    assert allowed(aws, "iot-receiver-readings") == {"dynamodb:Query", "iot:ListThings"}
    assert called("iot-receiver-readings").keys() == {"dynamodb:Query", "iot:ListThings"}


@pytest.mark.parametrize("role", ["iot-receiver-pod", "iot-receiver-redrive", "iot-receiver-rule"])
def test_a_role_uses_what_it_may_and_nothing_else(aws: Aws, role: str) -> None:
    if "sqs:DeleteMessage" not in called("iot-receiver-redrive"):
        pytest.skip("no dead letters were redriven: run tests/deployment as a whole")
    assert called(role).keys() == allowed(aws, role) - NEVER_CALLED.get(role, set())


def test_the_operator_uses_rights_that_are_said_to_be_seen(operator: Operator) -> None:
    """A whole run, a rotation, a redrive and a check of a teardown by who may do what the policies allow."""
    seen = called_by(ENDPOINT, operator.arn).keys()
    if "secretsmanager:UpdateSecretVersionStage" not in seen:
        pytest.skip("the operator did nothing yet: run tests/deployment as a whole")
    assert seen & unseen() == set()
    assert seen - {"sts:GetCallerIdentity"} <= allowed_by_documents()  # which no policy can forbid
