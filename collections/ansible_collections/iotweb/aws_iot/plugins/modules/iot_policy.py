#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

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
  - It comes back, under another number, where AWS refuses the document.
  - Deleting a policy can take five minutes after its last detachment; the module waits that long.
  - An older version that already says the same becomes the default again, rather than a copy of it.
  - Policies are attached to certificates by M(iotweb.aws_iot.iot_certificate) too, whichever is handier.
seealso:
  - module: iotweb.aws_iot.iot_policy_info
  - module: iotweb.aws_iot.iot_certificate
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
  targets:
    description:
      - ARNs of certificates and thing groups, or ids of Cognito identities, that the policy is attached to.
      - Without the option they are left as they are.
    type: list
    elements: str
  purge_targets:
    description: Whether the policy is detached from what is not listed in O(targets).
    type: bool
    default: false
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
notes:
  - The caller needs the permissions C(iot:AttachPolicy), C(iot:CreatePolicy), C(iot:CreatePolicyVersion),
    C(iot:DeletePolicy), C(iot:DeletePolicyVersion), C(iot:DetachPolicy), C(iot:GetPolicy),
    C(iot:GetPolicyVersion), C(iot:ListPolicyVersions), C(iot:ListTagsForResource), C(iot:ListTargetsForPolicy),
    C(iot:SetDefaultPolicyVersion), C(iot:TagResource), C(iot:UntagResource).
extends_documentation_fragment:
  - iotweb.aws_iot.attributes
  - iotweb.aws_iot.owner
  - iotweb.aws_iot.wait
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
  - amazon.aws.tags
"""

EXAMPLES = r"""
- name: Allow things to connect as themselves
  iotweb.aws_iot.iot_policy:
    name: things
    document:
      Version: "2012-10-17"
      Statement:
        - Effect: Allow
          Action: iot:Connect
          Resource: arn:aws:iot:us-east-2:123456789012:client/${iot:Connection.Thing.ThingName}

- name: Attach the policy to all pumps
  iotweb.aws_iot.iot_policy:
    name: things
    document: "{{ lookup('ansible.builtin.file', 'things.json') }}"
    targets:
      - arn:aws:iot:us-east-2:123456789012:thinggroup/pumps
    tags:
      team: water

- name: Delete a policy and detach it from certificates
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
      description: Number of the version in force; missing when check mode would make one.
      type: str
      sample: "2"
    document:
      description: The document in force, as it was written (keys as in IAM).
      type: dict
    targets:
      description: What the policy is attached to.
      type: list
      elements: str
    tags:
      description: Its tags.
      type: dict
"""

import json
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.tagging import ansible_dict_to_boto3_tag_list
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import EXISTS, MISSING, WAIT_OPTIONS, IoT
from ansible_collections.iotweb.aws_iot.plugins.module_utils.owner import OWNER_OPTIONS, may_touch, with_owner
from ansible_collections.iotweb.aws_iot.plugins.module_utils.policy import (
    TARGET,
    agrees,
    current_policy,
    desired,
    document_fault,
    same,
    version_to_remove,
    versions_of,
)
from ansible_collections.iotweb.aws_iot.plugins.module_utils.tags import TAG_OPTIONS, check_texts, write_tags

FULL = "VersionsLimitExceededException"
# Seconds within which a policy can be deleted after it was detached for the last time (API reference, DeletePolicy).
DETACHED_AFTER = 300


def older_version(iot: IoT, name: str, versions: list[dict[str, Any]], document: dict[str, Any]) -> str | None:
    """Return the version out of force that says what the document says."""
    for version in versions:
        if version["isDefaultVersion"]:
            continue
        number = version["versionId"]
        answer = iot.find("get_policy_version", policyName=name, policyVersionId=number)
        if answer and same(json.loads(answer["policyDocument"]), document):
            return str(number)
    return None


def make_room(iot: IoT, name: str, spare: str) -> None:
    """Remove a version, which comes back under another number where AWS refuses the document that was to replace it."""
    removed = iot.find("get_policy_version", policyName=name, policyVersionId=spare)
    iot.remove("delete_policy_version", policyName=name, policyVersionId=spare)

    def restore() -> str:
        again = removed and iot.attempt(
            "create_policy_version", policyName=name, policyDocument=removed["policyDocument"], setAsDefault=False
        )
        return f"Version {spare}, removed to make room, {'is back under another number' if again else 'is gone'}"

    iot.undo = restore


def add_version(iot: IoT, name: str, document: dict[str, Any]) -> str | None:
    """Make the document the default version and return its number, None in check mode.

    Another run may take the room that was just made, so the limit is met more than once.
    """
    for final in (False, False, True):
        versions = versions_of(iot, name)
        if older := older_version(iot, name, versions, document):
            iot.write("set_default_policy_version", policyName=name, policyVersionId=older)
            return older
        if spare := version_to_remove(versions):
            make_room(iot, name, spare)
        try:
            answer = iot.write(
                "create_policy_version",
                () if final else (FULL,),
                policyName=name,
                policyDocument=json.dumps(document),
                setAsDefault=True,
            )
        except is_boto3_error_code(FULL):
            continue
        iot.undo = None
        return answer.get("policyVersionId")
    return None


def create(iot: IoT, policy: dict[str, Any]) -> dict[str, Any]:
    """Create the policy with its tags, and return what is there then."""
    name = policy["policy_name"]
    tags = {"tags": ansible_dict_to_boto3_tag_list(policy["tags"])} if policy["tags"] else {}
    document = json.dumps(policy["document"])
    try:
        answer = iot.write("create_policy", (EXISTS,), policyName=name, policyDocument=document, **tags)
    except is_boto3_error_code(EXISTS) as error:  # another run was faster
        found: dict[str, Any] | None = iot.visible(lambda: current_policy(iot, name))
        if found is None:
            iot.fail(error, "create_policy", {"policyName": name})
        may_touch(iot.module, f"Policy {name}", found["tags"])
        return found
    known = {"policy_arn": answer["policyArn"], "default_version_id": answer["policyVersionId"]} if answer else {}
    return {**policy, **known, "targets": []}


def change(iot: IoT, current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """Bring a policy that exists to what is wanted, and return that with the numbers AWS gave."""
    name, after = current["policy_name"], {**current, **wanted}
    if not same(current["document"], wanted["document"]):
        number = add_version(iot, name, wanted["document"])
        after.pop("default_version_id", None)
        after |= {"default_version_id": number} if number else {}
    for target in sorted(set(wanted["targets"]) - set(current["targets"])):
        # The policy may be too new to be known everywhere.
        iot.persist("attach_policy", iot.module.params["wait_timeout"], {MISSING: ""}, policyName=name, target=target)
    for target in sorted(set(current["targets"]) - set(wanted["targets"])):
        iot.remove("detach_policy", policyName=name, target=target)
    if current["tags"] != wanted["tags"]:
        write_tags(iot, current["policy_arn"], current["tags"], wanted["tags"])
    return after


def ensure_present(iot: IoT, before: dict[str, Any] | None) -> dict[str, Any]:
    wanted = desired(before, with_owner(iot.module.params, "tags"))
    name = wanted["policy_name"]
    after = change(iot, before or create(iot, wanted), wanted)
    settled: dict[str, Any] = iot.settled(
        lambda: current_policy(iot, name), lambda found: agrees(found, after), f"policy {name}", after
    )
    return settled


def ensure_absent(iot: IoT, before: dict[str, Any]) -> None:
    name, targets = before["policy_name"], before["targets"]
    if targets and not iot.module.params["detach_targets"]:
        iot.module.fail_json(
            msg=f"Policy {name} is still attached to {len(targets)} target(s), the first is {targets[0]}."
            " Detach it there, or set detach_targets: true."
        )
    for target in targets:
        iot.remove("detach_policy", policyName=name, target=target)
    for version in versions_of(iot, name):
        if not version["isDefaultVersion"]:
            iot.remove("delete_policy_version", policyName=name, policyVersionId=version["versionId"])
    iot.remove("delete_policy", {"DeleteConflictException": ""}, least=DETACHED_AFTER, policyName=name)
    iot.settled(lambda: current_policy(iot, name), lambda found: found is None, f"policy {name}", None)


def check_options(module: AnsibleAWSModule) -> None:
    """End the module where document, targets or tags are none, in check mode too."""
    document, targets = module.params["document"], module.params["targets"] or []
    if document is not None and (fault := document_fault(document)):
        module.fail_json(msg=f"{fault}.")
    for target in targets:
        if not TARGET.fullmatch(target):
            module.fail_json(
                msg=f"targets has {target}, which is no ARN of a certificate or thing group, and no id of a Cognito"
                " identity: iot_certificate_info returns the ARNs of certificates."
            )
    check_texts(module, "tags")


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "name": {"required": True, "aliases": ["policy_name"]},
            "document": {"type": "json", "aliases": ["policy", "policy_document"]},
            "targets": {"type": "list", "elements": "str"},
            "purge_targets": {"type": "bool", "default": False},
            "detach_targets": {"type": "bool", "default": False},
            "state": {"choices": ["present", "absent"], "default": "present"},
            **TAG_OPTIONS,
            **OWNER_OPTIONS,
            **WAIT_OPTIONS,
        },
        required_if=[("state", "present", ["document"])],
        supports_check_mode=True,
    )
    check_options(module)
    iot = IoT(module)
    before = current_policy(iot, module.params["name"])
    after: dict[str, Any] | None = None
    if not may_touch(module, f"Policy {module.params['name']}", before and before["tags"]):
        after = before
    elif module.params["state"] == "present":
        after = ensure_present(iot, before)
    elif before is not None:
        ensure_absent(iot, before)
    iot.exit("policy", before, after)


if __name__ == "__main__":
    main()
