"""Role preflight's question whether the operator may do what a deployment does, asked for users of several rights."""

import json
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.iotweb.deployment.plugins.filter.operator_policies import operator_policies
from ansible_collections.iotweb.deployment.plugins.modules import preflight_operator

from tests.collection.calls import PLUGINS, calls
from tests.support.paths import ROOT

Aws = Callable[[str], Any]
Ask = Callable[..., dict[str, Any]]
ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}
SIMULATE = {"Effect": "Allow", "Action": "iam:SimulatePrincipalPolicy", "Resource": "*"}
ROLE = "arn:aws:iam::123456789012:role/iot-receiver-rule"
PASSING = {"actions": ["iam:PassRole"], "resources": [ROLE], "passed_to": "iot.amazonaws.com"}


@pytest.fixture(name="ask")
def _ask(endpoint: str, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Make a user with statements of rights, and run the module as this user."""

    def ask(*statements: dict[str, Any], managed: str = "", **options: Any) -> dict[str, Any]:
        iam, user = aws("iam"), f"operator-{time.monotonic_ns()}"
        iam.create_user(UserName=user)
        document = json.dumps({"Version": "2012-10-17", "Statement": [SIMULATE, *statements]})
        iam.put_user_policy(UserName=user, PolicyName="rights", PolicyDocument=document)
        if managed:
            iam.attach_user_policy(UserName=user, PolicyArn=managed)
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


def only_in(region: str, actions: list[str], member: str = "Action") -> dict[str, Any]:
    """A statement that allows actions, or all but these, in one region."""
    condition = {"StringEquals": {"aws:RequestedRegion": region}}
    return {"Effect": "Allow", member: actions, "Resource": "*", "Condition": condition}


REGIONAL = ["iot:*", "ec2:*"]
ELSEWHERE = {"StringNotEquals": {"aws:RequestedRegion": "us-east-2"}}


@pytest.mark.parametrize(
    "statements",
    [
        [only_in("us-east-2", REGIONAL), only_in("us-east-1", REGIONAL, "NotAction")],
        [ALL, {"Effect": "Deny", "Action": REGIONAL, "Resource": "*", "Condition": ELSEWHERE}],
    ],
)
def test_rights_in_one_region_are_enough(ask: Ask, statements: list[dict[str, Any]]) -> None:
    """As organizations give them. Services that have one endpoint for all regions are counted as AWS counts them."""
    asked = {"actions": ["iot:CreateThing", "iam:CreateRole", "ec2:CreateVpc", "route53:ListHostedZones"]}
    assert ask(*statements, permissions=[asked])["faults"] == []
    abroad = ask(*statements, permissions=[asked], region="eu-west-1")["faults"]
    assert [fault.split(" may not ")[1].split(" on ")[0] for fault in abroad] == ["iot:CreateThing", "ec2:CreateVpc"]


def test_a_fault_names_the_way_out(ask: Ask) -> None:
    [fault] = ask(ALL | {"Action": "iot:*"})["faults"]
    assert "Allow it in its IAM policies" in fault
    assert "preflight_permissions_checked: false" in fault


@cache
def listed() -> list[dict[str, Any]]:
    """What the role asks of the operator of an unnamed deployment."""
    loader = DataLoader()
    known: dict[str, Any] = {}
    shared = "deployment_defaults"
    for file in (f"{shared}/defaults/main", f"{shared}/vars/main", "preflight/vars/main/permissions"):
        known |= loader.load_from_file(str(ROOT / "roles" / f"{file}.yml"), trusted_as_template=True)
    templar = Templar(loader=loader, variables=known | {"deployment_name": "d", "deployment_devices": []})
    found: list[dict[str, Any]] = templar.template(known["__preflight_permissions"])
    return found


def test_all_that_the_modules_do_is_asked() -> None:
    """Beside what no role makes use of: tags, types of things, tokens given by hand."""
    unused = {"TagResource", "UntagResource", "DescribeThingType", "ConfirmTopicRuleDestination"}
    modules = [file.stem for file in (PLUGINS / "modules").glob("iot_*.py") if not file.stem.endswith("_info")]
    needed = {call for module in modules for call in calls(f"modules.{module}")} - unused
    asked = [action for permission in listed() for action in permission["actions"]]
    assert {f"iot:{call}" for call in needed} - set(asked) == set()
    assert {"sqs:GetQueueAttributes", "iot:DescribeEndpoint", "iot:ListTopicRules"} <= set(asked)


def test_an_operator_of_this_deployment_alone_may_do_all(ask: Ask) -> None:
    """Who may touch one rule, one policy and its queues only is not reported as without rights."""
    named = [permission for permission in listed() if permission.get("resources", ["*"]) != ["*"]]
    faults = ask(
        *[{"Effect": "Allow", "Action": permission["actions"],
           "Resource": [resource.format(partition="aws", region="us-east-2", account="123456789012")
                        for resource in permission["resources"]]} for permission in named],
        permissions=named,
    )["faults"]  # fmt: skip
    assert faults == []
    assert {"iot:CreateTopicRule", "iot:CreatePolicy", "sqs:GetQueueAttributes"} <= {
        action for permission in named for action in permission["actions"]
    }


def test_an_administrator_may_do_all_and_each_action_could_be_asked_for(ask: Ask, aws: Aws) -> None:
    """With AWS's own policy, and the simulator that refuses to judge several actions in one call."""
    policy = "arn:aws:iam::aws:policy/AdministratorAccess"
    answer = ask(permissions=listed(), managed=policy)
    assert (answer["faults"], answer.get("warnings", [])) == ([], [])
    refused = ask(permissions=listed(), managed=policy.replace("Administrator", "ReadOnly"))["faults"]
    assert any("may not iam:CreateServiceLinkedRole" in fault for fault in refused)


def test_the_generated_policies_are_enough(ask: Ask) -> None:
    names = {"partition": "aws", "region": "us-east-2", "account": "123456789012"}
    policies = operator_policies(listed(), names)
    statements = [statement for policy in policies for statement in policy["Statement"]]
    assert ask(*statements, permissions=listed())["faults"] == []


@pytest.mark.parametrize("service", ["eks", "eks-nodegroup", "elasticloadbalancing"])
def test_service_linked_roles_are_asked_for_by_their_service(ask: Ask, service: str) -> None:
    """As policies of organizations allow them: for named services."""
    allowed = {"Effect": "Allow", "Action": "iam:CreateServiceLinkedRole", "Resource": "*",
               "Condition": {"StringEquals": {"iam:AWSServiceName": f"{service}.amazonaws.com"}}}  # fmt: skip
    asked = [each for each in listed() if "iam:CreateServiceLinkedRole" in each["actions"]]
    faults = ask(allowed, permissions=asked)["faults"]
    denied = {fault.split("/aws-service-role/")[1].partition(".")[0] for fault in faults}
    assert denied == {"eks", "eks-nodegroup", "elasticloadbalancing"} - {service}


def test_every_missing_action_is_named(ask: Ask) -> None:
    asked = {"actions": ["iot:CreateTopicRule", "iot:ReplaceTopicRule", "iot:GetTopicRule"]}
    found = ask({"Effect": "Allow", "Action": "iot:Get*", "Resource": "*"}, permissions=[asked])["faults"]
    assert [fault.split(" may not ")[1].split(" on ")[0] for fault in found] == [
        "iot:CreateTopicRule",
        "iot:ReplaceTopicRule",
    ]


def test_another_principal_is_asked_about(ask: Ask, aws: Aws) -> None:
    """As a run asks about the roles of pods and rule. Where there is no queue, nothing is sent to it."""
    iam, rights = aws("iam"), {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    role = iam.create_role(Path="/iot/", RoleName="asked-about", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    document = json.dumps({"Version": "2012-10-17", "Statement": [rights]})
    iam.put_role_policy(RoleName="asked-about", PolicyName="rights", PolicyDocument=document)
    wanted, unused = {"actions": ["sqs:SendMessage", "sqs:ReceiveMessage"]}, {"actions": ["sqs:DeleteMessage"]}
    [fault] = ask(ALL, principal=role, permissions=[wanted, unused | {"resources": []}])["faults"]
    assert fault.startswith(f"{role} may not sqs:ReceiveMessage on *.")
