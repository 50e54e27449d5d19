"""The owner of an access key: the operator, who administers every cluster, an IAM user or an assumed role."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

from moto.eks.models import eks_backends
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends

from iot_sandbox.aws.access_entries import ADMINISTRATOR
from iot_sandbox.aws.settings import Settings
from iot_sandbox.aws.token_review import Identity

PARTITION = "aws"


def identity_of(config: Settings, access_key: str) -> Identity | None:
    """The identity of an access key, None for a key of another account."""
    operator = _operator(config.credentials_file)
    if operator and operator[0] == access_key:
        return Identity(f"arn:{PARTITION}:iam::{config.account_id}:root", operator[1], clusters(config))
    return known(config, access_key)


def principal_of(config: Settings, access_key: str) -> str:
    """The ARN of a key's owner: a session's role, a user; the account's root for any other key, the operator's."""
    session = sts_backends[config.account_id][PARTITION].get_assumed_role_from_access_key(access_key)
    if session:
        return str(session.role_arn)
    user = known(config, access_key)
    return user.arn if user else f"arn:{PARTITION}:iam::{config.account_id}:root"


def known(config: Settings, access_key: str) -> Identity | None:
    """The IAM user or assumed role that IAM or STS gave this key to."""
    for user in iam_backends[config.account_id][PARTITION].users.values():
        for key in user.access_keys:
            if key.access_key_id == access_key and key.status == "Active":
                return Identity(user.arn, key.secret_access_key, _administered(config, user.arn))
    role = sts_backends[config.account_id][PARTITION].get_assumed_role_from_access_key(access_key)
    return Identity(role.arn, role.secret_access_key, _administered(config, role.role_arn)) if role else None


def clusters(config: Settings) -> list[str]:
    """Names of the account's EKS clusters, in every region."""
    return sorted({name for _, backend in eks_backends[config.account_id].items() for name in backend.clusters})


def _administered(config: Settings, principal: str) -> list[str]:
    """Names of the clusters whose access entries make a user or role an administrator."""
    found: list[Any] = [
        each for backend in eks_backends[config.account_id].values() for each in list(backend.clusters.values())
    ]
    # One that is being made has no entries yet.
    return [
        each.name for each in found if hasattr(each, "entries") and ADMINISTRATOR in each.entries.policies(principal)
    ]


def _operator(file: Path | None) -> tuple[str, str] | None:
    """Access key and secret of the file's default profile, as the AWS CLI reads it."""
    if not file or not file.exists():
        return None
    parser = configparser.ConfigParser()
    parser.read(file, encoding="utf-8")
    profile = parser["default"] if parser.has_section("default") else None
    if not profile or "aws_access_key_id" not in profile:
        return None
    return profile["aws_access_key_id"], profile.get("aws_secret_access_key", "")
