# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes IAM policies that allow what preflight asks for: see operator_policies.yml."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.iotweb.deployment.plugins.module_utils.preflight import CONDITIONS

LARGEST = 6144  # characters of a managed policy, white space left out: IAM and STS quotas

Document = dict[str, Any]


def statement(permission: Mapping[str, Any], names: Mapping[str, str]) -> Document:
    """The statement that allows a permission, whose resources are filled in with names."""
    conditions = {key: permission[name] for name, key in CONDITIONS.items() if permission.get(name)}
    return {
        "Effect": "Allow",
        "Action": sorted(permission["actions"]),
        "Resource": sorted(resource.format(**names) for resource in permission.get("resources", ["*"])),
        **({"Condition": {"StringEquals": conditions}} if conditions else {}),
    }


def size(document: Document) -> int:
    """A policy's size as IAM counts it."""
    return len(json.dumps(document, separators=(",", ":")))


def operator_policies(permissions: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> list[Document]:
    """Policies with a statement for each permission, in the first that has room for it below IAM's limit of size.

    :param permissions: as the module preflight_operator takes them.
    :param names: partition, account and region.
    """
    policies: list[Document] = []
    for each in (statement(permission, names) for permission in permissions):
        for policy in policies:
            if size(policy | {"Statement": [*policy["Statement"], each]}) <= LARGEST:
                policy["Statement"].append(each)
                break
        else:
            policies.append({"Version": "2012-10-17", "Statement": [each]})
    return policies


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"operator_policies": operator_policies}
