# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Policies: what is, what should be, the difference."""

from __future__ import annotations

import json
import re
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.policy import compare_policies
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT
from ansible_collections.iotweb.aws_iot.plugins.module_utils.tags import current_tags, desired_tags

# AttachPolicy's targets: certificates, thing groups, identities of Cognito.
TARGET = re.compile(r"arn:[^:]+:iot:[^:]+:[^:]+:(cert|thinggroup)/\S+|[\w-]+:[0-9a-f-]+")
VERSIONS_KEPT = 5  # AWS's limit for one policy
Policy = dict[str, Any]


def without_repetition(value: Any) -> Any:
    """Return a document whose lists name each thing once."""
    if isinstance(value, dict):
        return {name: without_repetition(member) for name, member in value.items()}
    if isinstance(value, list):
        members = [without_repetition(member) for member in value]
        return [member for place, member in enumerate(members) if member not in members[:place]]
    return value


def same(document: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two documents mean the same."""
    return not compare_policies(without_repetition(document), without_repetition(other))


def document_fault(text: str) -> str:
    """Return what is wrong with the form of a document; empty for nothing."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return "document is no JSON object: give a mapping with Version and Statement"
    statements = document.get("Statement")
    listed = statements if isinstance(statements, list) else [statements]
    if listed and all(isinstance(one, dict) for one in listed):
        return ""
    return "document has no statements: give a Statement of one mapping or more with Effect, Action and Resource"


def version_to_remove(versions: list[dict[str, Any]]) -> str | None:
    """Return the version that must make room for a new one, None where there is room."""
    if len(versions) < VERSIONS_KEPT:
        return None
    spare = [version["versionId"] for version in versions if not version["isDefaultVersion"]]
    return str(min(spare, key=int))


def versions_of(iot: IoT, name: str) -> list[dict[str, Any]]:
    """Return what ListPolicyVersions returns."""
    return iot.list("list_policy_versions", "policyVersions", policyName=name)


def current_policy(iot: IoT, name: str) -> Policy | None:
    """Return a policy with its targets and tags, None for no policy."""
    answer = iot.find("get_policy", policyName=name)
    if answer is None:
        return None
    return {
        "policy_name": name,
        "policy_arn": answer["policyArn"],
        "default_version_id": answer["defaultVersionId"],
        "document": json.loads(answer["policyDocument"]),
        "targets": sorted(iot.list("list_targets_for_policy", "targets", policyName=name)),
        "tags": current_tags(iot, answer["policyArn"]),
    }


def desired(current: Policy | None, params: dict[str, Any]) -> Policy:
    """Return the policy as it should be: what isn't asked for stays. The version that a new document gets is open."""
    document = json.loads(params["document"])
    policy = dict(current or {"policy_name": params["name"], "targets": [], "tags": {}})
    if current is None or not same(current["document"], document):
        policy |= {"document": document}
        policy.pop("default_version_id", None)
    if params["targets"] is not None:
        kept = set() if params["purge_targets"] else set(policy["targets"])
        policy["targets"] = sorted(kept | set(params["targets"]))
    policy["tags"] = desired_tags(policy["tags"], params)
    return policy


def agrees(found: Policy | None, wanted: Policy) -> bool:
    """Return whether a policy that was read is the one that was written."""
    if found is None or not same(found["document"], wanted["document"]):
        return False
    return all(found[name] == value for name, value in wanted.items() if name != "document")
