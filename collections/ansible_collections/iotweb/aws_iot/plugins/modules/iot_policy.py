#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
---
module: iot_policy
version_added: 1.0.0
short_description: Manage a policy of AWS IoT Core
description:
  - Creates, changes and deletes a policy that says what devices may do.
  - Documents are compared by meaning, so that order and a single value written as a list make no change.
  - A changed document becomes a new default version. Where the policy has all five versions that AWS keeps,
    the oldest that is not the default makes room.
  - An older version that already says the same becomes the default again, rather than a copy of it.
  - Policies are attached to certificates by M(iotweb.aws_iot.iot_certificate).
author:
  - IoT receiver contributors (@iotweb)
options:
  name:
    description: Name of the policy.
    type: str
    required: true
    aliases: [policy_name]
  document:
    description: The policy document. Required with O(state=present).
    type: json
    aliases: [policy, policy_document]
  detach_targets:
    description:
      - With O(state=absent), whether the policy is first detached from what it is attached to.
      - AWS refuses to delete a policy that is attached.
    type: bool
    default: false
  state:
    description: Whether the policy exists.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Predicts what would change, and writes nothing.
    support: full
  diff_mode:
    description: Shows the document before and after.
    support: full
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Things may connect as themselves
  iotweb.aws_iot.iot_policy:
    name: things
    document:
      Version: "2012-10-17"
      Statement:
        - Effect: Allow
          Action: iot:Connect
          Resource: arn:aws:iot:us-east-2:123456789012:client/${iot:Connection.Thing.ThingName}

- name: Policy is gone, also from certificates that carry it
  iotweb.aws_iot.iot_policy:
    name: things
    state: absent
    detach_targets: true
"""

RETURN = r"""
policy:
  description: The policy, as it is now or would be; empty when it is absent.
  returned: always
  type: dict
  contains:
    policy_name:
      description: Its name.
      type: str
      sample: things
    policy_arn:
      description: Its ARN; missing when check mode would create it.
      type: str
      sample: arn:aws:iot:us-east-2:123456789012:policy/things
    default_version_id:
      description: Number of the version in force; missing when check mode would make a new one.
      type: str
      sample: "2"
    document:
      description: The document in force, in the account's own spelling (keys as in IAM).
      type: dict
"""

import json
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.policy import compare_policies
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT, Plan, differs

VERSIONS_KEPT = 5  # AWS's limit for one policy


def same(document: dict[str, Any], other: dict[str, Any]) -> bool:
    """Tell whether two documents mean the same."""
    return not compare_policies(document, other)


def version_to_remove(versions: list[dict[str, Any]]) -> str | None:
    """Return the version that must make room for a new one, None where there is room."""
    if len(versions) < VERSIONS_KEPT:
        return None
    spare = [version["versionId"] for version in versions if not version["isDefaultVersion"]]
    return str(min(spare, key=int))


def current_policy(iot: IoT, name: str) -> dict[str, Any] | None:
    answer = iot.find("get_policy", policyName=name)
    if answer is None:
        return None
    return {
        "policy_name": name,
        "policy_arn": answer["policyArn"],
        "default_version_id": answer["defaultVersionId"],
        "document": json.loads(answer["policyDocument"]),
    }


def older_version(
    iot: IoT, name: str, versions: list[dict[str, Any]], document: dict[str, Any]
) -> str | None:
    """Return the version out of force that says what the document says."""
    for version in versions:
        if version["isDefaultVersion"]:
            continue
        answer = iot.call("get_policy_version", policyName=name, policyVersionId=version["versionId"])
        if same(json.loads(answer["policyDocument"]), document):
            return str(version["versionId"])
    return None


def ensure_document(iot: IoT, plan: Plan, name: str, document: dict[str, Any]) -> None:
    versions = iot.list("list_policy_versions", "policyVersions", policyName=name)
    if older := older_version(iot, name, versions, document):
        plan.write(iot.call, "set_default_policy_version", policyName=name, policyVersionId=older)
        return
    if spare := version_to_remove(versions):
        plan.write(iot.call, "delete_policy_version", policyName=name, policyVersionId=spare)
    plan.write(
        iot.call,
        "create_policy_version",
        policyName=name,
        policyDocument=json.dumps(document),
        setAsDefault=True,
    )


def ensure_present(iot: IoT, plan: Plan, before: dict[str, Any] | None) -> dict[str, Any]:
    name, document = plan.module.params["name"], json.loads(plan.module.params["document"])
    if before is None:
        plan.write(iot.call, "create_policy", policyName=name, policyDocument=json.dumps(document))
    elif not same(before["document"], document):
        ensure_document(iot, plan, name, document)
    else:
        return before
    if plan.module.check_mode:
        known = {"policy_arn": before["policy_arn"]} if before else {}
        return {"policy_name": name, **known, "document": document}
    return current_policy(iot, name) or {}


def ensure_absent(iot: IoT, plan: Plan, name: str) -> None:
    targets = iot.list("list_targets_for_policy", "targets", policyName=name)
    if targets and not plan.module.params["detach_targets"]:
        plan.module.fail_json(
            msg=f"Policy {name} is still attached to {len(targets)} target(s), the first is {targets[0]}."
            " Detach it there, or set detach_targets: true."
        )
    for target in targets:
        plan.write(iot.call, "detach_policy", policyName=name, target=target)
    for version in iot.list("list_policy_versions", "policyVersions", policyName=name):
        if not version["isDefaultVersion"]:
            plan.write(
                iot.call, "delete_policy_version", policyName=name, policyVersionId=version["versionId"]
            )
    plan.write(iot.call, "delete_policy", policyName=name)


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"required": True, "aliases": ["policy_name"]},
            "document": {"type": "json", "aliases": ["policy", "policy_document"]},
            "detach_targets": {"type": "bool", "default": False},
            "state": {"choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["document"])],
        supports_check_mode=True,
    )
    iot, plan = IoT(module), Plan(module)
    before = current_policy(iot, module.params["name"])
    after: dict[str, Any] | None = None
    if module.params["state"] == "present":
        after = ensure_present(iot, plan, before)
    elif before is not None:
        ensure_absent(iot, plan, module.params["name"])
    module.exit_json(changed=plan.changed, policy=after or {}, diff=differs(before, after))


if __name__ == "__main__":
    main()
