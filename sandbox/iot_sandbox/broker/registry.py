"""Certificates, policies and things as the IoT API has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from iot_sandbox.broker.policy import Thing
from iot_sandbox.broker.table import Certificate

THINGS_PER_ROUND = 50
"""The API lists attachments one certificate at a time, so a round reads a part of a large fleet."""

_DESCRIBED = re.compile(r"iot:Connection\.Thing\.(ThingTypeName|Attributes)")
"""Variables that need DescribeThing: a call for each thing, made if a policy names one."""


def pages(call: Callable[..., Any], key: str, token: str = "nextMarker", **arguments: Any) -> Iterator[Any]:  # noqa: S107
    """The items of all pages of a call; ``token`` is the next page's name in answer and request."""
    while True:
        answer = call(**arguments)
        yield from answer.get(key, [])
        if not answer.get(token):
            return
        arguments["marker" if token == "nextMarker" else token] = answer[token]  # noqa: S105


class Registry:
    """Reads what the broker's table needs, a round at a time.

    Things of certificates seen for the first time are read at once, those of the others in turn.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._things: dict[str, dict[str, Thing]] = {}  # those first that were read longest ago
        self._described = self._grouped = False

    @property
    def rounds(self) -> int:
        """How many rounds read the things of all certificates."""
        return max(1, -(-len(self._things) // THINGS_PER_ROUND))

    def read(self) -> list[Certificate]:
        """All active certificates; raises botocore's errors when the API does not answer."""
        listed = pages(self._client.list_certificates, "certificates", pageSize=250)
        active = {c["certificateArn"]: c["certificateId"] for c in listed if c["status"] == "ACTIVE"}
        documents = self._documents()
        self._described = any(_DESCRIBED.search(text) for texts in documents.values() for text in texts)
        of_groups = {arn: texts for arn, texts in documents.items() if ":thinggroup/" in arn}
        self._grouped = bool(of_groups)
        self._read_things(set(active))
        return [
            Certificate(identifier, tuple(documents.get(arn, ())), self._things[arn], of_groups)
            for arn, identifier in active.items()
        ]

    def _documents(self) -> dict[str, list[str]]:
        """Policy documents (their default version) by the ARN they are attached to."""
        documents: dict[str, list[str]] = {}
        for policy in pages(self._client.list_policies, "policies", pageSize=250):
            name = policy["policyName"]
            document = self._client.get_policy(policyName=name)["policyDocument"]
            for target in pages(self._client.list_targets_for_policy, "targets", policyName=name, pageSize=250):
                documents.setdefault(target, []).append(document)
        return documents

    def _read_things(self, active: set[str]) -> None:
        self._things = {arn: things for arn, things in self._things.items() if arn in active}
        due = list(self._things)[:THINGS_PER_ROUND]
        for arn in [*due, *active.difference(self._things)]:
            names = pages(self._client.list_principal_things, "things", "nextToken", principal=arn)
            self._things.pop(arn, None)
            self._things[arn] = {name: self._thing(name) for name in names}

    def _thing(self, name: str) -> Thing:
        groups = tuple(self._groups(name)) if self._grouped else ()
        if not self._described:
            return Thing(name, groups=groups)
        thing = self._client.describe_thing(thingName=name)
        return Thing(name, thing.get("thingTypeName"), thing.get("attributes", {}), groups)

    def _groups(self, name: str) -> Iterator[str]:
        for group in pages(self._client.list_thing_groups_for_thing, "thingGroups", "nextToken", thingName=name):
            yield group["groupArn"]
            described = self._client.describe_thing_group(thingGroupName=group["groupName"])
            parents = described.get("thingGroupMetadata", {}).get("rootToParentThingGroups", [])
            yield from (parent["groupArn"] for parent in parents)
