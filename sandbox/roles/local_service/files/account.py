"""Makes what is missing in an account, in an order in which nothing refers to what is not there.

Standard input: JSON with table (create_table's parameters), queues (names), role (RoleName, AssumeRolePolicyDocument,
policy), secret (Name, path of the file with its value, which is made, 0600). Standard output: made and secret_arn.
"""

import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

# The emulated AWS may still be starting.
CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 12}, connect_timeout=2)
EXISTS = {"ResourceInUseException", "EntityAlreadyExists", "ResourceExistsException"}


def value_of(path: Path) -> str:
    """Read the secret's value, or make it: written beside its place, then moved, so that none is ever cut off."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(30))
        draft.replace(path)
    return path.read_text()


def main() -> None:
    """Make what is missing, and print what that was."""
    wanted: dict[str, Any] = json.load(sys.stdin)
    made: list[str] = []

    def ensure(name: str, client: Any, call: Callable[..., Any], **parameters: Any) -> None:
        try:
            call(**parameters)
        except client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in EXISTS:
                raise
        else:
            made.append(name)

    dynamodb, sqs, iam, manager = (
        boto3.client(name, config=CONFIG) for name in ("dynamodb", "sqs", "iam", "secretsmanager")
    )
    ensure("table", dynamodb, dynamodb.create_table, **wanted["table"])
    present = {url.rsplit("/", 1)[-1] for url in sqs.list_queues().get("QueueUrls", [])}
    for name in wanted["queues"]:
        if name not in present:
            ensure(name, sqs, sqs.create_queue, QueueName=name)
    role = wanted["role"]
    trust = json.dumps(role["AssumeRolePolicyDocument"])
    ensure("role", iam, iam.create_role, RoleName=role["RoleName"], AssumeRolePolicyDocument=trust)
    iam.put_role_policy(RoleName=role["RoleName"], PolicyName="rule", PolicyDocument=json.dumps(role["policy"]))
    secret = wanted["secret"]
    text = json.dumps({"secret": value_of(Path(secret["path"]))})
    ensure("secret", manager, manager.create_secret, Name=secret["Name"], SecretString=text)
    print(json.dumps({"made": made, "secret_arn": manager.describe_secret(SecretId=secret["Name"])["ARN"]}))


if __name__ == "__main__":
    main()
