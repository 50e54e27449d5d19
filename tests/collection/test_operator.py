"""Role preflight's question whether the operator may do what a deployment does, asked for users of several rights."""

import json
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import preflight_operator
import pytest
from ansible.module_utils.testing import patch_module_args

Aws = Callable[[str], Any]
Ask = Callable[..., dict[str, Any]]
ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
ROLE = "arn:aws:iam::123456789012:role/iot-receiver-rule"
PASSING = {"actions": ["iam:PassRole"], "resources": [ROLE], "passed_to": "iot.amazonaws.com"}


@pytest.fixture(name="ask")
def _ask(endpoint: str, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Make a user with statements of rights, and run the module as this user."""

    def ask(*statements: dict[str, Any], **options: Any) -> dict[str, Any]:
        iam, user = aws("iam"), f"operator-{time.monotonic_ns()}"
        iam.create_user(UserName=user)
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName=user, PolicyName="rights", PolicyDocument=document)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        printed = StringIO()
        with (
            patch_module_args({"region": "us-east-2", "permissions": [PASSING], **options}),
            redirect_stdout(printed),
            pytest.raises(SystemExit),
        ):
            preflight_operator.main()
        result: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
        assert result["arn"].endswith(f":user/{user}")
        return result

    return ask


def test_who_may_do_everything_has_no_faults(ask: Ask) -> None:
    assert ask(ALL)["faults"] == []


@pytest.mark.parametrize(
    "statements",
    [
        [ALL, {"Effect": "Deny", "Action": "iam:PassRole", "Resource": "*"}],
        [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}],
        [{"Effect": "Allow", "Action": "iam:PassRole", "Resource": ROLE.replace("rule", "node")}],
        [
            {
                "Effect": "Allow",
                "Action": "iam:PassRole",
                "Resource": ROLE,
                "Condition": {"StringEquals": {"iam:PassedToService": "eks.amazonaws.com"}},
            }
        ],
    ],
)
def test_a_missing_pass_role_is_named_with_the_role(ask: Ask, statements: list[dict[str, Any]]) -> None:
    [fault] = ask(*statements)["faults"]
    assert f"may not iam:PassRole on {ROLE}" in fault
    assert "iot.amazonaws.com" in fault
    assert "Allow it" in fault


def test_pass_role_for_the_right_service_is_enough(ask: Ask) -> None:
    condition = {"StringEquals": {"iam:PassedToService": "iot.amazonaws.com"}}
    allowed = {"Effect": "Allow", "Action": "iam:PassRole", "Resource": ROLE, "Condition": condition}
    assert ask(allowed)["faults"] == []


def test_every_missing_action_is_named(ask: Ask) -> None:
    asked = {"actions": ["iot:CreateTopicRule", "iot:ReplaceTopicRule", "iot:GetTopicRule"]}
    found = ask({"Effect": "Allow", "Action": "iot:Get*", "Resource": "*"}, permissions=[asked])["faults"]
    assert [fault.split(" may not ")[1].split(" on ")[0] for fault in found] == [
        "iot:CreateTopicRule",
        "iot:ReplaceTopicRule",
    ]
