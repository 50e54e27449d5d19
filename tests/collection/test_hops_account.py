"""What playbooks/status.yml finds of the hops in AWS, by an emulated one."""

import json
import socket
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.iotweb.deployment.plugins.module_utils.hops import BROKEN, NOTE, OK
from ansible_collections.iotweb.deployment.plugins.module_utils.hops_account import Account, domain

from tests.collection.conftest import CREDENTIALS
from tests.collection.helpers import pair

Aws = Callable[[str], Any]


@pytest.fixture(name="account")
def _account(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", CREDENTIALS["access_key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CREDENTIALS["secret_key"])
    return Account("us-east-2")


@pytest.fixture(name="name")
def _name() -> str:
    return f"hops_{uuid.uuid4().hex[:8]}"


def test_what_is_missing_is_broken_with_the_role_that_makes_it(account: Account, name: str) -> None:
    hops = [account.rule(name, "things/telemetry"), account.policy(name), account.destination("https://a.example.com/x")]
    assert [hop.mark for hop in hops] == [BROKEN] * 3
    assert {hop.fix for hop in hops} == {"ansible-playbook site.yml --tags iot_core"}
    assert account.cluster(name).mark == BROKEN


def test_a_rule_is_judged_by_whether_it_reads_the_topic(account: Account, aws: Aws, name: str) -> None:
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
                                                     "Principal": {"Service": "iot.amazonaws.com"}}]}  # fmt: skip
    role = aws("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    action = {"sqs": {"queueUrl": "https://sqs.us-east-2.amazonaws.com/123456789012/q",
                      "roleArn": role}}  # fmt: skip
    rule = {"sql": "SELECT * FROM 'a/b'", "actions": [action], "ruleDisabled": False}
    aws("iot").create_topic_rule(ruleName=name, topicRulePayload=rule)
    assert account.rule(name, "a/b").mark == OK
    assert account.rule(name, "a/c").state == f"{name} does not read a/c"
    aws("iot").disable_topic_rule(ruleName=name)
    assert account.rule(name, "a/b").state == f"{name} is disabled"


def test_policy_secret_and_queues(account: Account, aws: Aws, name: str) -> None:
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}
    aws("iot").create_policy(policyName=name, policyDocument=json.dumps(document))
    assert account.policy(name).state == f"{name}, version 1"
    secrets = aws("secretsmanager")
    arn = secrets.create_secret(Name=name, SecretString="one")["ARN"]
    assert account.secret(arn).state == "0 days old"
    secrets.put_secret_value(SecretId=arn, SecretString="two", VersionStages=["AWSPENDING"])
    assert account.secret(arn).mark == NOTE
    url = aws("sqs").create_queue(QueueName=name)["QueueUrl"]
    assert account.dead_letters({"rule": url, "receiver": ""}).state == "none"
    aws("sqs").send_message(QueueUrl=url, MessageBody="{}")
    assert account.dead_letters({"rule": url, "receiver": ""}).state == "1 on the rule's queue"


def test_only_active_certificates_count(account: Account, aws: Aws, name: str) -> None:
    iot = aws("iot")
    iot.create_thing(thingName=name)
    assert account.certificates([name, "no-such-thing"], 50).mark == BROKEN
    for active in (True, False):
        arn = iot.create_certificate_from_csr(certificateSigningRequest=pair()[0], setAsActive=active)["certificateArn"]
        iot.attach_thing_principal(thingName=name, principal=arn)
    hop = account.certificates([name], 50)
    assert hop.state == f"1 of 1 devices have one, the oldest 0 days old ({name})"
    assert hop.fix.startswith(f"certificates of {name} end within 14 days")  # the tests' authority ends tomorrow


def test_no_resolver_is_asked_for_a_domain_without_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would keep the answer."""
    monkeypatch.delattr(socket, "getaddrinfo")
    [hop] = domain("localhost", "", "there is no record of localhost yet: ns-0 answers NXDOMAIN")
    assert (hop.mark, hop.state) == (BROKEN, "there is no record of localhost yet: ns-0 answers NXDOMAIN")


def test_a_domain_that_does_not_resolve_is_broken() -> None:
    [hop] = domain("no-such-name.invalid", "")
    assert (hop.name, hop.mark) == ("domain", BROKEN)
