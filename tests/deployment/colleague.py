"""An operator who may do what the generated policies allow and nothing else, made by a client that is not ours."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml
from botocore.exceptions import ClientError

from tests.support.ansible import environment
from tests.support.paths import ROOT

Aws = Callable[[str], Any]
CLUSTER = "iot-receiver"
ADMINISTRATOR = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
POLICY = "operator-policy-{}-{}"


@dataclass(frozen=True)
class Operator:
    """A user's ARN, and the options with which a playbook runs as this user."""

    arn: str
    options: tuple[str, ...]


def policies(folder: Path, **variables: Any) -> list[str]:
    """The policies that role preflight writes for the sandbox's inventory (JSON)."""
    role = ["-m", "ansible.builtin.include_role", "-a", "name=preflight tasks_from=policy"]
    given = json.dumps({"deployment_workdir": str(folder), **variables})
    done = subprocess.run(["ansible", "localhost", *role, "-e", given], cwd=ROOT, env=environment(), text=True,
                          capture_output=True, check=False)  # fmt: skip
    found = [file.read_text() for file in sorted(folder.glob("operator-policy-*.json"))]
    assert found, done.stdout + done.stderr
    return found


def as_user(key: dict[str, str], file: Path) -> tuple[str, ...]:
    """Options with which a playbook uses an access key, through a file of variables."""
    inventory = yaml.safe_load((ROOT / "inventory/sandbox/group_vars/all/aws.yml").read_text())
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    given = {name: value for name, value in inventory["aws_environment"].items() if "PROFILE" not in name} | keys
    file.write_text(yaml.safe_dump({"aws_environment": given}))
    return "-e", f"@{file}"


@contextmanager
def limited(aws: Aws, name: str, documents: list[str], folder: Path) -> Iterator[Operator]:
    """A user with exactly these policies, who administers the cluster, too, until the block ends."""
    iam, eks = aws("iam"), aws("eks")
    user = iam.create_user(UserName=name)["User"]["Arn"]
    arns = [iam.create_policy(PolicyName=POLICY.format(name, number), PolicyDocument=document)["Policy"]["Arn"]
            for number, document in enumerate(documents, 1)]  # fmt: skip
    for arn in arns:
        iam.attach_user_policy(UserName=name, PolicyArn=arn)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    entry = {"clusterName": CLUSTER, "principalArn": user}
    eks.create_access_entry(**entry)
    eks.associate_access_policy(**entry, policyArn=ADMINISTRATOR, accessScope={"type": "cluster"})
    try:
        yield Operator(user, as_user(key, folder / f"{name}.yml"))
    finally:
        with suppress(ClientError):  # the cluster may be another by now
            eks.delete_access_entry(**entry)
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        for arn in arns:
            iam.detach_user_policy(UserName=name, PolicyArn=arn)
            iam.delete_policy(PolicyArn=arn)
        iam.delete_user(UserName=name)


def called(endpoint: str, principal: str) -> dict[str, set[str]]:
    """The resources of each action that a principal called, as the calls named them."""
    record = requests.get(f"{endpoint}/sandbox/calls", timeout=10).json()
    assert record["left_out"] == 0
    found: dict[str, set[str]] = {}
    for call in record["calls"]:
        if call["principal"] == principal:
            found.setdefault(call["action"], set()).add(call["resource"])
    return found
