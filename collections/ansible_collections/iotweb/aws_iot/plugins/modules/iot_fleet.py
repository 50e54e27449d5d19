#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: iot_fleet
version_added: 2.0.0
short_description: Remove the certificates of a policy, and their things
description:
  - Revokes and deletes each certificate that the policy is attached to, and deletes the things these belong to.
    A thing that has another certificate as well stays.
  - With O(owner), the fleet is what this owner enrolled instead, by the attributes of its things. A certificate of the
    policy that belongs to no such thing stays, unless an interrupted run has revoked it already, as does one that
    belongs to somebody else's thing as well.
  - The policy is detached last, so an interrupted run can be run again.
author:
  - IoT receiver contributors (@iotweb)
options:
  policy_name:
    description: Name of the policy; one that is not there has no certificates.
    type: str
    required: true
  things:
    description: Names of further things to delete, should an earlier run have left them without certificate.
    type: list
    elements: str
    default: []
notes:
  - The caller needs the permissions C(iot:DeleteCertificate), C(iot:DeleteThing), C(iot:DescribeThing),
    C(iot:DetachPolicy), C(iot:DetachThingPrincipal), C(iot:ListAttachedPolicies), C(iot:ListPrincipalThings),
    C(iot:ListTargetsForPolicy), C(iot:ListThingPrincipals), C(iot:UpdateCertificate); with O(owner) also
    C(iot:DescribeCertificate), C(iot:GetPolicy), C(iot:ListTagsForResource), C(iot:ListThings).
seealso:
  - module: iotweb.aws_iot.iot_certificate
  - module: iotweb.aws_iot.iot_policy
extends_documentation_fragment:
  - iotweb.aws_iot.attributes
  - iotweb.aws_iot.owner
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Revoke and delete every device of the fleet
  iotweb.aws_iot.iot_fleet:
    policy_name: iot-thing-policy

- name: Revoke and delete the devices that one deployment enrolled
  iotweb.aws_iot.iot_fleet:
    policy_name: iot-thing-policy
    owner:
      Deployment: prod
"""

RETURN = r"""
certificates:
  description: Ids of the certificates that are, or in check mode would be, removed.
  type: list
  elements: str
  returned: always
things:
  description: Names of the things that are, or in check mode would be, removed.
  type: list
  elements: str
  returned: always
left:
  description: ARNs of what the policy stays attached to, as it belongs to somebody else; empty without O(owner).
  type: list
  elements: str
  returned: always
"""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry
from ansible_collections.amazon.aws.plugins.module_utils.tagging import boto3_tag_list_to_ansible_dict
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import of_all_pages
from ansible_collections.iotweb.aws_iot.plugins.module_utils.owner import OWNER_OPTIONS, difference, owner_of

with contextlib.suppress(ImportError):  # AnsibleAWSModule reports it
    from botocore.exceptions import BotoCoreError, ClientError

AT_ONCE = 4  # IoT Core takes 10 such calls a second
MISSING = "ResourceNotFoundException"
# Returned for a while after a detachment: AWS IoT API Reference, DeleteCertificate and DeleteThing.
UNSETTLED = ["DeleteConflictException", "CertificateStateException", "InvalidRequestException"]


class FleetError(Exception):
    """A call failed; the reason is its cause. (Threads must not fail the module: it can fail but once.)"""


class Fleet:
    """The calls; each raises FleetError that names it."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        backoff = AWSRetry.jittered_backoff(retries=8, delay=1, catch_extra_error_codes=UNSETTLED)
        self._client = module.client("iot", retry_decorator=backoff)

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """One call; what is not there any more was the aim."""
        try:
            answer: dict[str, Any] = getattr(self._client, operation)(aws_retry=True, **arguments)
        except is_boto3_error_code(MISSING):
            return {}
        except (BotoCoreError, ClientError) as error:
            raise FleetError(f"Unable to {operation.replace('_', ' ')} with {arguments}") from error
        return answer

    def all(self, operation: str, member: str, **arguments: Any) -> list[Any]:
        """The named member of all pages."""
        return of_all_pages(partial(self.call, operation), member, arguments)

    def targets(self, policy: str) -> list[str]:
        """What the policy is attached to."""
        return sorted(set(self.all("list_targets_for_policy", "targets", policyName=policy, pageSize=250)))

    def tags(self, policy: str) -> dict[str, str]:
        """The policy's tags, none where there is no policy."""
        arn = self.call("get_policy", policyName=policy).get("policyArn")
        tags = self.all("list_tags_for_resource", "tags", resourceArn=arn) if arn else []
        return dict(boto3_tag_list_to_ansible_dict(tags))

    def attributes(self, thing: str) -> dict[str, str]:
        """The thing's attributes, none where there is no thing."""
        return self.call("describe_thing", thingName=thing).get("attributes") or {}

    def things_with(self, name: str, value: str) -> dict[str, dict[str, str]]:
        """Names and attributes of the things that have an attribute with this value."""
        found = self.all("list_things", "things", attributeName=name, attributeValue=value, maxResults=250)
        return {thing["thingName"]: thing["attributes"] for thing in found}

    def is_revoked(self, certificate: str) -> bool:
        """Whether the certificate is revoked, and so of no use to anybody."""
        answer = self.call("describe_certificate", certificateId=certificate.rpartition("/")[2])
        return bool(answer) and answer["certificateDescription"]["status"] == "REVOKED"

    def things(self, certificate: str) -> list[str]:
        """Names of a certificate's things."""
        return self.all("list_principal_things", "things", principal=certificate)

    def principals(self, thing: str) -> list[str]:
        """What a thing proves itself by."""
        return self.all("list_thing_principals", "principals", thingName=thing)

    def exists(self, thing: str) -> bool:
        """Whether there is such a thing."""
        return bool(self.call("describe_thing", thingName=thing))

    def remove_certificate(self, certificate: str) -> None:
        """Lock it out first; its policy goes last, as it is found by that."""
        identity = certificate.rpartition("/")[2]
        self.call("update_certificate", certificateId=identity, newStatus="REVOKED")
        for thing in self.things(certificate):
            self.call("detach_thing_principal", thingName=thing, principal=certificate)
            if not self.principals(thing):
                self.call("delete_thing", thingName=thing)
        for policy in self.all("list_attached_policies", "policies", target=certificate):
            self.call("detach_policy", policyName=policy["policyName"], target=certificate)
        self.call("delete_certificate", certificateId=identity)


def enrolled(fleet: Fleet, params: dict[str, Any]) -> tuple[list[str], list[str], list[str]]:
    """Certificates and things that the owner enrolled, and what the policy stays attached to."""
    key, value = next(iter(owner_of(params).items()))
    things = fleet.things_with(key, value)
    things |= {name: fleet.attributes(name) for name in params["things"] if fleet.exists(name)}
    ours = {thing: not difference(attributes, params) for thing, attributes in things.items()}

    def is_ours(certificate: str) -> bool:
        """Whether all its things are ours; one without is, where an interrupted run has revoked it."""
        for thing in (owners := fleet.things(certificate)):
            if thing not in ours:
                ours[thing] = not difference(fleet.attributes(thing), params)
        return all(ours[thing] for thing in owners) if owners else fleet.is_revoked(certificate)

    name = params["policy_name"]
    targets = set() if difference(fleet.tags(name), params) else set(fleet.targets(name))
    held = {one for thing in things if ours[thing] for one in fleet.principals(thing)}
    certificates = {one for one in held | targets if ":cert/" in one and is_ours(one)}
    gone = {thing for thing in ours if ours[thing] and set(fleet.principals(thing)) <= certificates}
    return sorted(certificates), sorted(gone), sorted(targets - certificates)


def doomed_things(fleet: Fleet, certificates: list[str], names: list[str]) -> list[str]:
    """Things that belong to these certificates and to no other, and those of the names."""
    owners = {thing for certificate in certificates for thing in fleet.things(certificate)}
    owners |= {name for name in names if fleet.exists(name)}
    return sorted(thing for thing in owners if set(fleet.principals(thing)) <= set(certificates))


def remove(fleet: Fleet, certificates: list[str], things: list[str]) -> None:
    """Several certificates at a time, then the things that nothing belongs to any more."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(fleet.remove_certificate, certificates))
    for thing in things:
        fleet.call("delete_thing", thingName=thing)


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "policy_name": {"required": True},
            "things": {"type": "list", "elements": "str", "default": []},
            **OWNER_OPTIONS,
        },
        supports_check_mode=True,
    )
    fleet = Fleet(module)
    try:
        left: list[str] = []
        if module.params["owner"]:
            certificates, things, left = enrolled(fleet, module.params)
        else:
            certificates = [one for one in fleet.targets(module.params["policy_name"]) if ":cert/" in one]
            things = doomed_things(fleet, certificates, module.params["things"])
        if not module.check_mode:
            remove(fleet, certificates, things)
    except FleetError as error:
        module.fail_json_aws(error.__cause__, msg=str(error))
    ids = [certificate.rpartition("/")[2] for certificate in certificates]
    module.exit_json(
        changed=bool(ids or things),
        certificates=ids,
        things=things,
        left=left,
        diff={"before": {"certificates": ids, "things": things}, "after": {"certificates": [], "things": []}},
    )


if __name__ == "__main__":
    main()
