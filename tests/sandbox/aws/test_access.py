"""IAM enforced: a role or user may do what its policies allow, and a refusal names the action as AWS does."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.emulator import ACCOUNT, REGION, Emulator, running
from tests.sandbox.aws.test_calls import START
from tests.support.certificates import Authority
from tests.support.dynamodb import SHORT_LIVED, jars
from tests.support.ports import free_port
from tests.support.waiting import until

TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/readings"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:letters"

Session = dict[str, str]


@pytest.fixture(scope="module", name="local")
def _local() -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.fixture(scope="module", name="emulator")
def _emulator(tmp_path_factory: pytest.TempPathFactory, aws_authority: Authority, local: str) -> Iterator[Emulator]:
    """The emulator, and DynamoDB Local as the sandbox starts it."""
    folder, libraries = tmp_path_factory.mktemp("access"), jars()
    with running(folder, aws_authority, DYNAMODB_URL=local) as emulator:
        command = [*SHORT_LIVED, f"-Djava.library.path={libraries}", "-cp", f"{libraries}/*", "bsh.Interpreter",
                   str(START), "127.0.0.1", str(folder / "calls"), emulator.url, "-inMemory", "-sharedDb",
                   "-disableTelemetry", "-port", local.rpartition(":")[2]]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: not _refused_at_all(int(local.rpartition(":")[2])), 60)
            emulator.client("dynamodb").create_table(
                TableName="readings", KeySchema=[{"AttributeName": "deviceId", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "deviceId", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST")  # fmt: skip
            emulator.client("sqs").create_queue(QueueName="letters")
            yield emulator
        finally:
            process.terminate()
            process.wait(10)


def allow(*actions: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


def give(emulator: Emulator, role: str, *statements: dict[str, Any]) -> None:
    """Give a role these rights and no others."""
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    emulator.client("iam").put_role_policy(RoleName=role, PolicyName="rights", PolicyDocument=document)


def session_of(emulator: Emulator, role: str, *statements: dict[str, Any]) -> Session:
    """Keys of a session of a new role."""
    arn = emulator.client("iam").create_role(RoleName=role, AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    if statements:
        give(emulator, role, *statements)
    keys = emulator.client("sts").assume_role(RoleArn=arn, RoleSessionName="tests")["Credentials"]
    return {"key": keys["AccessKeyId"], "secret": keys["SecretAccessKey"], "token": keys["SessionToken"]}


def refusal(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response["Error"]["Code"], refused.value.response["Error"]["Message"]


def words(role: str, action: str, resource: str = "") -> str:
    """How AWS says that no policy allows it."""
    on = f" on resource: {resource}" if resource else ""
    return (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/{role}/tests is not authorized to perform: {action}{on} "
        f"because no identity-based policy allows the {action} action"
    )


def test_each_protocol_refuses_in_its_form(emulator: Emulator) -> None:
    keys = session_of(emulator, "nobody")
    queue = emulator.client("sqs").get_queue_url(QueueName="letters")["QueueUrl"]
    entries = [{"Id": "1", "MessageBody": "x"}]

    def client(service: str) -> Any:
        return emulator.client(service, **keys)

    assert refusal(client("iot").list_things) == ("AccessDeniedException", words("nobody", "iot:ListThings"))
    assert refusal(client("eks").list_clusters) == ("AccessDeniedException", words("nobody", "eks:ListClusters"))
    assert refusal(client("iam").list_roles) == ("AccessDenied", words("nobody", "iam:ListRoles"))
    assert refusal(client("route53").list_hosted_zones) == ("AccessDenied", words("nobody", "route53:ListHostedZones"))
    assert refusal(client("cloudwatch").describe_alarms)[1] == words("nobody", "cloudwatch:DescribeAlarms")
    assert refusal(client("elbv2").describe_load_balancers) == (
        "AccessDenied",
        words("nobody", "elasticloadbalancing:DescribeLoadBalancers"),
    )
    assert refusal(client("ec2").describe_vpcs) == (
        "UnauthorizedOperation",
        f"You are not authorized to perform this operation. {words('nobody', 'ec2:DescribeVpcs')}",
    )
    assert refusal(client("sqs").send_message_batch, QueueUrl=queue, Entries=entries) == (
        "AccessDenied",
        words("nobody", "sqs:SendMessage", QUEUE),
    )
    assert refusal(client("dynamodb").scan, TableName="readings") == (
        "AccessDeniedException",
        words("nobody", "dynamodb:Scan", TABLE),
    )
    assert client("sts").get_caller_identity()["Arn"].endswith(":assumed-role/nobody/tests")


def test_the_named_resource_counts(emulator: Emulator) -> None:
    keys = session_of(emulator, "writer", allow("sqs:SendMessage", resource=QUEUE), allow("dynamodb:*", resource=TABLE))
    sqs, dynamodb = emulator.client("sqs", **keys), emulator.client("dynamodb", **keys)
    other = emulator.client("sqs").create_queue(QueueName="others")["QueueUrl"]
    sqs.send_message(QueueUrl=other.replace("others", "letters"), MessageBody="x")
    assert refusal(sqs.send_message, QueueUrl=other, MessageBody="x")[1] == words(
        "writer", "sqs:SendMessage", QUEUE.replace("letters", "others")
    )
    dynamodb.scan(TableName="readings")
    dynamodb.batch_get_item(RequestItems={"readings": {"Keys": [{"deviceId": {"S": "a"}}]}})
    assert refusal(dynamodb.scan, TableName="others")[0] == "AccessDeniedException"


def test_tags_at_creation_are_a_right_of_their_own(emulator: Emulator) -> None:
    making = ["sqs:CreateQueue", "iam:CreateRole", "iam:PassRole", "ec2:CreateVpc", "eks:CreateCluster",
              "ssm:PutParameter", "iot:CreateTopicRule", "iam:CreateInstanceProfile"]  # fmt: skip
    keys = session_of(emulator, "maker", allow(*making))

    def client(service: str) -> Any:
        return emulator.client(service, **keys)

    tags = [{"Key": "Deployment", "Value": "d"}]
    vpc = {"CidrBlock": "10.9.0.0/16"}
    tagged = [{"ResourceType": "vpc", "Tags": tags}]
    client("sqs").create_queue(QueueName="untagged")
    assert "sqs:TagQueue" in refusal(client("sqs").create_queue, QueueName="q", tags={"Deployment": "d"})[1]
    assert "iam:TagRole" in refusal(
        client("iam").create_role, RoleName="r", AssumeRolePolicyDocument="{}", Tags=tags)[1]  # fmt: skip
    assert "iam:TagInstanceProfile" in refusal(
        client("iam").create_instance_profile, InstanceProfileName="p", Tags=tags)[1]  # fmt: skip
    client("ec2").create_vpc(**vpc)
    assert "ec2:CreateTags" in refusal(client("ec2").create_vpc, **vpc, TagSpecifications=tagged)[1]
    assert "ssm:AddTagsToResource" in refusal(
        client("ssm").put_parameter, Name="/p", Value="v", Type="String", Tags=tags)[1]  # fmt: skip
    network: dict[str, list[str]] = {"subnetIds": []}
    cluster = {"name": "c", "roleArn": "arn:aws:iam::123456789012:role/c", "resourcesVpcConfig": network}
    assert "eks:TagResource" in refusal(client("eks").create_cluster, **cluster, tags={"Deployment": "d"})[1]
    rule: dict[str, Any] = {"sql": "SELECT * FROM 't'", "actions": []}
    assert "iot:TagResource" in refusal(
        client("iot").create_topic_rule, ruleName="r", topicRulePayload=rule, tags="Deployment=d")[1]  # fmt: skip


def test_a_role_is_handed_over_to_an_instance_profile(emulator: Emulator) -> None:
    making = allow("iam:CreateRole", "iam:CreateInstanceProfile", "iam:AddRoleToInstanceProfile")
    iam = emulator.client("iam", **session_of(emulator, "profiler", making))
    iam.create_role(RoleName="handed", AssumeRolePolicyDocument="{}")
    iam.create_instance_profile(InstanceProfileName="handed")
    refused = refusal(iam.add_role_to_instance_profile, InstanceProfileName="handed", RoleName="handed")
    assert "iam:PassRole" in refused[1]



def test_a_role_is_handed_over_by_who_may_pass_it(emulator: Emulator) -> None:
    may = "arn:aws:iam::123456789012:role/may"
    keys = session_of(emulator, "passer", allow("eks:CreateCluster", "iot:CreateTopicRule"),
                      allow("iam:PassRole", resource=may))  # fmt: skip
    network: dict[str, list[str]] = {"subnetIds": []}
    create = emulator.client("eks", **keys).create_cluster
    other = may.replace("may", "other")
    assert refusal(create, name="passed", roleArn=other, resourcesVpcConfig=network)[1] == words(
        "passer", "iam:PassRole", other)  # fmt: skip
    create(name="passed", roleArn=may, resourcesVpcConfig=network)
    key = [{"provider": {"keyArn": "arn:aws:kms:us-east-2:123456789012:key/k"}, "resources": ["secrets"]}]
    assert "kms:CreateGrant" in refusal(
        create, name="encrypted", roleArn=may, resourcesVpcConfig=network, encryptionConfig=key)[1]  # fmt: skip
    letters = {"sqs": {"roleArn": other, "queueUrl": "https://sqs/1/q", "useBase64": False}}
    rule = {"sql": "SELECT * FROM 't'", "actions": [], "errorAction": letters}
    code, message = refusal(
        emulator.client("iot", **keys).create_topic_rule, ruleName="passed", topicRulePayload=rule)  # fmt: skip
    assert (code, message) == ("AccessDeniedException", words("passer", "iam:PassRole", other))


def test_a_deny_wins_and_is_named(emulator: Emulator) -> None:
    deny = {"Effect": "Deny", "Action": "iot:CreateThing", "Resource": "*"}
    keys = session_of(emulator, "denied", allow("*"), deny)
    iot = emulator.client("iot", **keys)
    iot.list_things()
    code, message = refusal(iot.create_thing, thingName="x")
    assert code == "AccessDeniedException"
    assert message.endswith("to perform: iot:CreateThing with an explicit deny in an identity-based policy")


def test_conditions_are_taken_to_hold(emulator: Emulator) -> None:
    tagged: dict[str, Any] = {"Condition": {"Null": {"aws:RequestTag/x": "false"}}}
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*", **tagged}
    keys = session_of(emulator, "conditional", allow("iot:ListThings", **tagged), deny)
    emulator.client("iot", **keys).list_things()


def test_a_user_has_its_own_its_groups_and_managed_policies(emulator: Emulator) -> None:
    iam = emulator.client("iam")
    iam.create_user(UserName="somebody")
    keys = iam.create_access_key(UserName="somebody")["AccessKey"]
    iot = emulator.client("iot", keys["AccessKeyId"], keys["SecretAccessKey"])
    assert refusal(iot.list_things)[1].startswith(f"User: arn:aws:iam::{ACCOUNT}:user/somebody is not authorized")
    iam.create_group(GroupName="people")
    iam.add_user_to_group(GroupName="people", UserName="somebody")
    document = json.dumps({"Version": "2012-10-17", "Statement": allow("iot:ListThings")})
    iam.put_group_policy(GroupName="people", PolicyName="look", PolicyDocument=document)
    iot.list_things()
    assert refusal(iot.list_policies)[0] == "AccessDeniedException"
    policy = iam.create_policy(PolicyName="look", PolicyDocument=document.replace("ListThings", "ListPolicies"))
    iam.attach_user_policy(UserName="somebody", PolicyArn=policy["Policy"]["Arn"])
    iot.list_policies()


def test_the_simulator_takes_no_mixture_of_actions(emulator: Emulator) -> None:
    """aws-cloudformation/rain asks for one action at a time for it, and quotes IAM's words."""
    role = emulator.client("iam").create_role(RoleName="mixed", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    simulate = emulator.client("iam").simulate_principal_policy
    for mixture in (["iot:CreateThing", "iot:DescribeThing"], ["iot:CreateThing", "sqs:CreateQueue"]):
        code, message = refusal(simulate, PolicySourceArn=role, ActionNames=mixture)
        assert code == "InvalidInput"
        assert f"[{mixture[0]}] and [{mixture[1]}] require different authorization information" in message
    results = simulate(PolicySourceArn=role, ActionNames=["iot:CreateThing", "iot:CreatePolicy"])["EvaluationResults"]
    assert [each["EvalDecision"] for each in results] == ["implicitDeny", "implicitDeny"]


def test_rows_are_refused_where_pods_ask_for_them(emulator: Emulator, local: str) -> None:
    """Pods call DynamoDB Local itself; a change of rights holds after some seconds."""
    keys = session_of(emulator, "pod", allow("dynamodb:GetItem", resource=TABLE))
    direct: Any = boto3.client("dynamodb", REGION, endpoint_url=local, aws_access_key_id=keys["key"],
                               aws_secret_access_key=keys["secret"], aws_session_token=keys["token"])  # fmt: skip
    item = {"deviceId": {"S": "a"}}
    assert "Item" not in direct.get_item(TableName="readings", Key=item)
    refused = ("AccessDeniedException", words("pod", "dynamodb:PutItem"))
    assert refusal(direct.put_item, TableName="readings", Item=item) == refused
    give(emulator, "pod", allow("dynamodb:PutItem", resource=TABLE))

    def stored() -> bool:
        try:
            direct.put_item(TableName="readings", Item=item)
        except ClientError:
            return False
        return True

    until(stored, 15)
    until(lambda: _refused(direct.get_item, TableName="readings", Key=item), 15)
    own = boto3.client("dynamodb", REGION, endpoint_url=local, aws_access_key_id="x", aws_secret_access_key="y")
    assert own.get_item(TableName="readings", Key=item)["Item"] == item


def _refused_at_all(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False


def _refused(call: Callable[..., Any], **arguments: Any) -> bool:
    try:
        call(**arguments)
    except ClientError as error:
        return bool(error.response["Error"]["Code"] == "AccessDeniedException")
    return False
