"""What a role's policy in the account allows, and how to take some of it away for a while."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Aws = Callable[[str], Any]


def listed(actions: str | list[str]) -> list[str]:
    return [actions] if isinstance(actions, str) else actions


def policy(aws: Aws, role: str) -> tuple[str, dict[str, Any]]:
    """The name and the document of a role's only policy."""
    iam = aws("iam")
    [name] = iam.list_role_policies(RoleName=role)["PolicyNames"]
    return name, iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]


def allowed(aws: Aws, role: str) -> set[str]:
    """The actions that a role's policy names."""
    _, document = policy(aws, role)
    return {action for statement in document["Statement"] for action in listed(statement["Action"])}


@contextmanager
def without(aws: Aws, role: str, *actions: str) -> Iterator[None]:
    """Take actions out of a role's policy until the block ends."""
    assert set(actions) <= allowed(aws, role)
    name, whole = policy(aws, role)
    left = [{**each, "Action": [one for one in listed(each["Action"]) if one not in actions]}
            for each in whole["Statement"]]  # fmt: skip
    # Which every caller may, whatever its policies say; a policy without a statement is none.
    nothing = {"Effect": "Allow", "Action": "sts:GetCallerIdentity", "Resource": "*"}
    rest = {**whole, "Statement": [nothing, *(each for each in left if each["Action"])]}
    put = aws("iam").put_role_policy
    put(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(rest))
    try:
        yield
    finally:
        put(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(whole))
