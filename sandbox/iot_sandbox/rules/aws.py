"""Calls of AWS, off the event loop, as the engine itself or under a rule's role."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from iot_sandbox.shared.policies import Decision, decide, trusts

SERVICE = "iot.amazonaws.com"
ROLE_SECONDS = 60
"""How long a role's trust, policies and credentials are cached; IoT Core keeps them for minutes."""
REFUSED_SECONDS = 1
"""How long a role's refusal stands: what was fixed works at once."""

Result = TypeVar("Result")


class AwsError(Exception):
    """A call that AWS refused or did not answer, with the reason as an error action's payload has it."""


@dataclass(frozen=True, slots=True)
class _Role:
    session: boto3.Session
    documents: Sequence[str]
    read: float


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
        return self._client(service, None, self._session, 0.0)

    def client_as(self, role_arn: str, service: str, action: str, resource: str) -> Any:
        """A client under a role, blocking; raises AwsError unless it trusts IoT and allows the action."""
        for seconds in (ROLE_SECONDS, REFUSED_SECONDS):
            role = self._role(role_arn, seconds)
            if decide(role.documents, action, resource, {}) is Decision.ALLOWED:
                return self._client(service, role_arn, role.session, role.read)
        raise AwsError(
            f"User: {role_arn} is not authorized to perform: {action} on resource: {resource}"
            " because no identity-based policy allows it"
        )

    def _client(self, service: str, role_arn: str | None, session: boto3.Session, read: float) -> Any:
        with self._lock:
            client, former = self._clients.get((service, role_arn), (None, 0.0))
            if client is None or former < read:
                client = session.client(service, config=self._config)  # type: ignore[call-overload]
                self._clients[service, role_arn] = client, read
            return client

    def _role(self, role_arn: str, seconds: float) -> _Role:
        """A role as it was so many seconds ago at most."""
        role = self._roles.get(role_arn)
        if role is None or time.monotonic() - role.read > seconds:
            role = self._roles[role_arn] = self._assume(role_arn)
        return role

    def _assume(self, role_arn: str) -> _Role:
        refusal = AwsError(f"Unable to assume role, role ARN: {role_arn}. Check that it exists and trusts {SERVICE}")
        iam, name = self.client("iam"), role_arn.rsplit("/", 1)[-1]
        try:
            role = iam.get_role(RoleName=name)["Role"]
            trusted = role["Arn"] == role_arn and trusts(json.dumps(role["AssumeRolePolicyDocument"]), SERVICE)
            if not trusted:
                raise refusal
            answer = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="iot-rules-engine")
            documents = list(_documents(iam, name))
        except iam.exceptions.NoSuchEntityException as error:
            raise refusal from error
        keys = answer["Credentials"]
        session = boto3.Session(
            keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name=self.region
        )
        return _Role(session, documents, time.monotonic())


def _documents(iam: Any, role: str) -> Iterable[str]:
    """A role's inline and attached policies, as JSON."""
    for page in iam.get_paginator("list_role_policies").paginate(RoleName=role):
        for name in page["PolicyNames"]:
            yield json.dumps(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
    for page in iam.get_paginator("list_attached_role_policies").paginate(RoleName=role):
        for policy in page["AttachedPolicies"]:
            arn = policy["PolicyArn"]
            version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            found = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]
            yield json.dumps(found["Document"])
