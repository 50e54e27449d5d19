"""The broker's table follows the IoT API."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from iot_sandbox.broker import registry
from iot_sandbox.broker.policy import Thing
from iot_sandbox.broker.registry import Registry
from iot_sandbox.broker.table import Certificate

from tests.sandbox.broker.emulator import ACCOUNT, REGION, Emulator

POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}]}


class Account:
    """Calls of the IoT API that an operator makes."""

    def __init__(self, iot: Any) -> None:
        self.iot = iot
        self.registry = Registry(iot)

    def certificate(self, active: bool = True) -> tuple[str, str]:
        made = self.iot.create_keys_and_certificate(setAsActive=active)
        return made["certificateId"], made["certificateArn"]

    def policy(self, name: str, **more: Any) -> str:
        document = json.dumps(POLICY | more)
        self.iot.create_policy(policyName=name, policyDocument=document)
        return document

    def read(self) -> dict[str, Certificate]:
        return {certificate.id: certificate for certificate in self.registry.read()}


@pytest.fixture
def account(emulator: Emulator) -> Account:
    return Account(emulator.client("iot"))


def test_status_policies_and_things(account: Account) -> None:
    iot = account.iot
    first, first_arn = account.certificate()
    second, _ = account.certificate(active=False)
    document = account.policy("one")
    iot.attach_policy(policyName="one", target=first_arn)
    iot.create_thing(thingName="sensor-1")
    iot.attach_thing_principal(thingName="sensor-1", principal=first_arn)

    known = account.read()
    assert set(known) == {first}
    assert [json.loads(text) for text in known[first].documents] == [json.loads(document)]
    assert known[first].things == {"sensor-1": Thing("sensor-1")}

    iot.update_certificate(certificateId=second, newStatus="ACTIVE")
    assert account.read()[second] == Certificate(second, (), {})
    iot.update_certificate(certificateId=second, newStatus="REVOKED")
    iot.detach_thing_principal(thingName="sensor-1", principal=first_arn)
    assert account.read()[first].things == {}
    iot.detach_policy(policyName="one", target=first_arn)
    assert account.read() == {first: Certificate(first, (), {})}
    iot.update_certificate(certificateId=first, newStatus="INACTIVE")
    assert account.read() == {}


def test_the_default_version_of_a_policy_counts(account: Account) -> None:
    identifier, arn = account.certificate()
    account.policy("versions")
    account.iot.attach_policy(policyName="versions", target=arn)
    changed = POLICY | {"Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    account.iot.create_policy_version(policyName="versions", policyDocument=json.dumps(changed), setAsDefault=True)
    (document,) = account.read()[identifier].documents
    assert json.loads(document) == changed


def test_things_are_described_if_a_policy_asks(account: Account) -> None:
    identifier, arn = account.certificate()
    account.policy(
        "typed", Statement=[{"Effect": "Deny", "Action": "*", "Resource": "${iot:Connection.Thing.Attributes[a]}"}]
    )
    account.iot.attach_policy(policyName="typed", target=arn)
    account.iot.create_thing_type(thingTypeName="Sensor")
    account.iot.create_thing(thingName="typed-1", thingTypeName="Sensor", attributePayload={"attributes": {"a": "b"}})
    account.iot.attach_thing_principal(thingName="typed-1", principal=arn)
    assert account.read()[identifier].things == {"typed-1": Thing("typed-1", "Sensor", {"a": "b"})}


def test_policies_of_thing_groups_and_their_parents_count(account: Account) -> None:
    """https://docs.aws.amazon.com/iot/latest/developerguide/thing-groups.html"""
    identifier, arn = account.certificate()
    iot = account.iot
    parent = iot.create_thing_group(thingGroupName="site")["thingGroupArn"]
    child = iot.create_thing_group(thingGroupName="hall", parentGroupName="site")["thingGroupArn"]
    document = account.policy("of-site")
    iot.attach_policy(policyName="of-site", target=parent)
    iot.create_thing(thingName="grouped-1")
    iot.attach_thing_principal(thingName="grouped-1", principal=arn)
    iot.add_thing_to_thing_group(thingGroupName="hall", thingName="grouped-1")
    read = account.read()[identifier]
    assert set(read.things["grouped-1"].groups) == {parent, child}
    assert {group: [json.loads(text) for text in texts] for group, texts in read.group_documents.items()} == {
        parent: [json.loads(document)]
    }
    iot.detach_policy(policyName="of-site", target=parent)
    assert not account.read()[identifier].group_documents


def test_a_large_fleet_is_read_in_turns(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "THINGS_PER_ROUND", 2)
    arns = [account.certificate()[1] for _ in range(5)]
    account.read()
    for number, arn in enumerate(arns):
        account.iot.create_thing(thingName=f"late-{number}")
        account.iot.attach_thing_principal(thingName=f"late-{number}", principal=arn)
    seen: set[str] = set()
    for _ in range(account.registry.rounds):
        seen |= {name for certificate in account.read().values() for name in certificate.things}
    assert {f"late-{number}" for number in range(5)} <= seen


def test_the_program_says_what_is_missing_when_the_api_does_not_answer(tmp_path: Path, emulator: Emulator) -> None:
    command = [sys.executable, "-m", "iot_sandbox.broker", "--table", str(tmp_path / "policies"), "--once"]
    command += ["--account", ACCOUNT, "--region", REGION]
    environment = emulator.environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "AWS_ENDPOINT_URL" in done.stderr
    done = subprocess.run(command, env=emulator.environment, capture_output=True, text=True, check=True)
    assert (tmp_path / "policies").read_text().startswith("iot-policies 1\n")
