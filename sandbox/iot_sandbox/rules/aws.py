"""Calls of AWS, off the event loop, as the engine itself or under a rule's role."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from threading import Lock
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

SERVICE = "iot.amazonaws.com"
ROLE_SECONDS = 60
"""How long a role's trust, policies and credentials are taken as known; IoT Core keeps them for minutes."""

Result = TypeVar("Result")


class AwsError(Exception):
    """A call that AWS refused or did not answer, with the reason as a rule's error action tells it."""


@dataclass(frozen=True, slots=True)
class _Role:
    session: boto3.Session
    statements: Sequence[Mapping[str, Any]]
    until: float


class Aws:
    """boto3 in a few threads: ``AWS_ENDPOINT_URL*`` and credentials come from the environment."""

    def __init__(self, region: str, threads: int = 8) -> None:
        self.region = region
        self._threads = ThreadPoolExecutor(threads, "aws")
        self._config = Config(
            connect_timeout=2,
            read_timeout=10,
            retries={"total_max_attempts": 3},
            max_pool_connections=threads,
        )
        self._session = boto3.Session(region_name=region)
        self._clients: dict[tuple[str, str | None], tuple[Any, float]] = {}
        self._roles: dict[str, _Role] = {}
        self._lock = Lock()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Runs blocking work in a thread; raises AwsError instead of botocore's errors."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except (BotoCoreError, ClientError) as error:
            raise AwsError(str(error)) from error

    def client(self, service: str) -> Any:
        """A client with the engine's own credentials; thread-safe, as boto3's clients are."""
        return self._client(service, None, self._session, float("inf"))

    def client_as(self, role_arn: str, service: str, action: str, resource: str) -> Any:
        """A client under a role, blocking; raises AwsError unless it trusts IoT and allows the action."""
        role = self._role(role_arn)
        if not _allows(role.statements, action, resource):
            raise AwsError(
                f"User: {role_arn} is not authorized to perform: {action} on resource: {resource}"
                " because no identity-based policy allows it"
            )
        return self._client(service, role_arn, role.session, role.until)

    def _client(self, service: str, role_arn: str | None, session: boto3.Session, until: float) -> Any:
        with self._lock:
            client, valid_until = self._clients.get((service, role_arn), (None, 0.0))
            if client is None or valid_until < until:
                client = session.client(service, config=self._config)  # type: ignore[call-overload]
                self._clients[service, role_arn] = client, until
            return client

    def _role(self, role_arn: str) -> _Role:
        role = self._roles.get(role_arn)
        if role is None or role.until < time.monotonic():
            role = self._roles[role_arn] = self._assume(role_arn)
        return role

    def _assume(self, role_arn: str) -> _Role:
        refusal = AwsError(f"Unable to assume role, role ARN: {role_arn}. Check that it exists and trusts {SERVICE}")
        iam, name = self.client("iam"), role_arn.rsplit("/", 1)[-1]
        try:
            role = iam.get_role(RoleName=name)["Role"]
            trusted = role["Arn"] == role_arn and _trusts(role["AssumeRolePolicyDocument"])
            if not trusted:
                raise refusal
            answer = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="iot-rules-engine")
            statements = list(_statements(iam, name))
        except iam.exceptions.NoSuchEntityException as error:
            raise refusal from error
        keys = answer["Credentials"]
        session = boto3.Session(
            keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name=self.region
        )
        return _Role(session, statements, time.monotonic() + ROLE_SECONDS)


def _trusts(document: Any) -> bool:
    """Whether a trust policy lets IoT assume the role."""
    statements = [s for s in _listed(_parsed(document)["Statement"]) if isinstance(s.get("Principal"), Mapping)]
    of_service = [s for s in statements if SERVICE in _listed(s["Principal"].get("Service", []))]
    assuming = [s for s in of_service if _matches(s.get("Action", []), "sts:AssumeRole")]
    return any(s["Effect"] == "Allow" for s in assuming) and all(s["Effect"] != "Deny" for s in assuming)


def _statements(iam: Any, role: str) -> Iterable[Mapping[str, Any]]:
    """All statements of a role's inline and attached policies."""
    for page in iam.get_paginator("list_role_policies").paginate(RoleName=role):
        for name in page["PolicyNames"]:
            document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            yield from _listed(_parsed(document)["Statement"])
    for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=role):
        for policy in page["AttachedPolicies"]:
            arn = policy["PolicyArn"]
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
            yield from _listed(_parsed(found["Document"])["Statement"])


def _allows(statements: Sequence[Mapping[str, Any]], action: str, resource: str) -> bool:
    """Allow without Deny; conditions are not judged, so a statement with one counts."""
    effects = [
        s["Effect"]
        for s in statements
        if _matches(s.get("Action", []), action) and _matches(s.get("Resource", []), resource, fold=False)
    ]
    return "Allow" in effects and "Deny" not in effects


def _matches(patterns: Any, value: str, fold: bool = True) -> bool:
    wanted = value.lower() if fold else value
    found = [p.lower() if fold else p for p in map(str, _listed(patterns))]
    return any(fnmatchcase(wanted, pattern.replace("[", "[[]")) for pattern in found)


def _parsed(document: Any) -> Mapping[str, Any]:
    parsed = json.loads(document) if isinstance(document, str) else document
    return parsed if isinstance(parsed, Mapping) else {"Statement": []}


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
