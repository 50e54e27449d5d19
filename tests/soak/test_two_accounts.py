"""A second account: its deployment takes nothing from the first account's, and neither account's keys act in the other.

The account is a second process of the emulated AWS, in which Terraform's stack comes and goes. The receiver cannot run
for it on the shared cluster: pods take AWS's address and their identity from the cluster's one MutatingAdmissionPolicy
and token issuer, which lead to the first account. So no destination of the second is confirmed, and no rule delivers.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from tests.deployment.conftest import Kubectl, Playbook
from tests.soak.test_two_deployments import Held, held
from tests.support.emulated_aws import emulated_aws
from tests.support.paths import STATE
from tests.torn_down.account import LOOKS

Aws = Callable[[str], Any]
FIRST, SECOND, NAME = "123456789012", "210987654321", "second"
CONFIRMED = ("playbooks/teardown.yml", "-e", f"teardown_confirmed={NAME}")


@dataclass(frozen=True)
class Account:
    """An emulated account, and the options with which playbooks work there on a deployment of the shared cluster."""

    url: str
    folder: Path

    def __call__(self, service: str) -> Any:
        session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="a", region_name="us-east-2")
        return session.client(service, endpoint_url=self.url)  # type: ignore[call-overload]

    def options(self, account: str = SECOND) -> tuple[str, ...]:
        """Options for `ansible-playbook`, with another account's number if one is given."""
        variables = {
            "deployment_name": NAME, "aws_account_id": account, "terraform_workdir": str(self.folder / "terraform"),
            "infrastructure_kubeconfig_file": f"{STATE}/kubeconfig",
            "aws_environment": {
                "AWS_ENDPOINT_URL": self.url, "AWS_ENDPOINT_URL_DYNAMODB": self.url, "AWS_REGION": "us-east-2",
                "AWS_ACCESS_KEY_ID": "AKIASECOND0000000000", "AWS_SECRET_ACCESS_KEY": "a",
                "AWS_CA_BUNDLE": f"{STATE}/ca/bundle.crt", "AWS_EC2_METADATA_DISABLED": "true",
            },
        }  # fmt: skip
        return ("-e", json.dumps(variables))

    def holds(self) -> dict[str, int]:
        """How many things of each kind are in it, by kind."""
        found = {kind: len(look(self(service))) for kind, (service, look) in LOOKS.items()}
        return {kind: number for kind, number in found.items() if number}

    def changes(self) -> list[str]:
        """Calls that changed something."""
        answer = httpx.get(f"{self.url}/sandbox/calls", trust_env=False).json()
        calls = [call["action"].partition(":")[2] for call in answer["calls"]]
        return [call for call in calls if not call.startswith(("Get", "List", "Describe", "Simulate", "BatchGet"))]


@pytest.fixture(scope="module", name="second")
def _second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    folder, ca = tmp_path_factory.mktemp("second"), Path(f"{STATE}/ca")
    settings = {
        "AWS_ACCOUNT_ID": SECOND, "HOSTED_ZONES": "sandbox.test", "QUOTA_VCPUS": "8", "CA_BUNDLE": f"{ca}/bundle.crt",
        "KUBERNETES_NODES": f"{STATE}/aws/nodes.json",
    }  # fmt: skip
    with emulated_aws(folder, ca, settings) as url:
        yield Account(url, folder)


@pytest.fixture(scope="module", name="before")
def _before(aws: Aws, kubectl: Kubectl) -> Held:
    return held(aws, kubectl)


def test_credentials_of_the_other_account_are_refused(playbook: Playbook, second: Account) -> None:
    for arguments in (["playbooks/infrastructure.yml"], [*CONFIRMED]):
        recap = playbook(*arguments, *second.options(FIRST))
        assert recap.status != 0, recap.output[-4000:]
        assert f"The credentials are of account {SECOND}" in recap.output
    assert second.changes() == []


def test_its_stack_is_deployed_beside_the_first_accounts(
    playbook: Playbook, second: Account, before: Held, aws: Aws, kubectl: Kubectl
) -> None:
    empty = second.holds()
    recap = playbook("playbooks/infrastructure.yml", *second.options(), limit=900)
    assert recap.status == 0, recap.output[-4000:]
    stack = second.holds()
    assert {"clusters", "tables", "queues", "secrets", "roles", "networks"} <= stack.keys() - empty.keys()
    again = playbook("playbooks/infrastructure.yml", *second.options(), limit=900)
    assert (again.status, again.changed) == (0, 0), again.output[-4000:]
    gone = playbook(*CONFIRMED, *second.options(), limit=900)
    assert gone.status == 0, gone.output[-4000:]
    assert second.holds() == empty
    after = held(aws, kubectl)
    assert {kind: things ^ after[kind] for kind, things in before.items()} == {kind: set() for kind in before}
