#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: foreign_names
version_added: 2.0.0
short_description: Find names in IoT Core, ECR and Route 53 that belong to somebody else
description:
  - The roles that use these names refuse them, too, but only once network and cluster have been created.
  - Changes nothing. What the caller may not look at is passed over.
author:
  - IoT receiver contributors (@iotweb)
options:
  names:
    description: Names by kind, one of C(rule), C(policy), C(thing) and C(repository).
    type: dict
    default: {}
  domain:
    description: The receiver's domain.
    type: str
    default: ""
  zone:
    description: Public zone of the domain in Route 53; empty if there is none.
    type: str
    default: ""
  load_balancer:
    description: Name of the load balancer that the domain may point to.
    type: str
    default: ""
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
  - iotweb.aws_iot.owner
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Look for names that others have
  iotweb.deployment.foreign_names:
    names: {rule: forward_to_alb, policy: iot-thing-policy}
    owner: {Deployment: prod}
"""

RETURN = r"""
foreign:
  description: Which names belong to somebody else, by kind, with whose they are; C(domain) with what it points to.
  type: dict
  returned: always
  sample: {rule: "forward_to_alb (Deployment is prod, not staging)"}
"""

import contextlib
import re
from collections.abc import Callable
from functools import cache

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.tagging import boto3_tag_list_to_ansible_dict
from ansible_collections.iotweb.aws_iot.plugins.module_utils.owner import OWNER_OPTIONS, difference

with contextlib.suppress(ImportError):  # AnsibleAWSModule reports it
    from botocore.exceptions import BotoCoreError, ClientError

Tags = dict[str, str]


class Account:
    """Whose resources of a name are. A look raises ClientError where there is none, or where it is not allowed."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        self._client = cache(module.client)
        iot = self._client("iot")
        self.looks: dict[str, Callable[[str], Tags]] = {
            "rule": lambda name: self._iot(iot.get_topic_rule(ruleName=name)["ruleArn"]),
            "policy": lambda name: self._iot(iot.get_policy(policyName=name)["policyArn"]),
            "thing": lambda name: iot.describe_thing(thingName=name).get("attributes") or {},
            "repository": self._repository,
        }

    def _iot(self, arn: str) -> Tags:
        return self._tags(self._client("iot").list_tags_for_resource(resourceArn=arn)["tags"])

    def _repository(self, name: str) -> Tags:
        ecr = self._client("ecr")
        [found] = ecr.describe_repositories(repositoryNames=[name])["repositories"]
        return self._tags(ecr.list_tags_for_resource(resourceArn=found["repositoryArn"]).get("tags") or [])

    @staticmethod
    def _tags(listed: list[Tags]) -> Tags:
        found: Tags = boto3_tag_list_to_ansible_dict(listed)
        return found

    def targets(self, domain: str, zone: str) -> list[str]:
        """What a domain's addresses are taken from."""
        route53, name = self._client("route53"), f"{zone.rstrip('.')}."
        zones = route53.list_hosted_zones_by_name(DNSName=name)["HostedZones"]
        found: list[str] = []
        for identifier in [each["Id"] for each in zones if each["Name"] == name and not each["Config"]["PrivateZone"]]:
            records = route53.list_resource_record_sets(HostedZoneId=identifier, StartRecordName=domain, MaxItems="5")
            for record in records["ResourceRecordSets"]:
                if record["Name"].rstrip(".") == domain and record["Type"] in {"A", "AAAA", "CNAME"}:
                    found += [value["Value"] for value in record.get("ResourceRecords", [])]
                    found += [record["AliasTarget"]["DNSName"]] if "AliasTarget" in record else []
        return found


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "names": {"type": "dict", "default": {}},
            "domain": {"default": ""},
            "zone": {"default": ""},
            "load_balancer": {"default": ""},
            **OWNER_OPTIONS,
        },
        supports_check_mode=True,
    )
    wanted, account, foreign = module.params, Account(module), {}
    try:
        for kind, name in wanted["names"].items():
            with contextlib.suppress(ClientError):
                if found := difference(account.looks[kind](name), wanted):
                    foreign[kind] = f"{name} ({found})"
        if wanted["zone"]:
            # A load balancer's address begins with its name, which is unique in its account and region.
            own = re.compile(rf"(dualstack\.)?{re.escape(wanted['load_balancer'])}-[0-9a-f]+\.", re.IGNORECASE)
            with contextlib.suppress(ClientError):
                others = [to for to in account.targets(wanted["domain"], wanted["zone"]) if not own.match(to)]
                foreign |= {"domain": f"{wanted['domain']} (it points to {', '.join(others)})"} if others else {}
    except BotoCoreError as error:
        module.fail_json_aws(error, msg="Cannot look for names that belong to somebody else")
    module.exit_json(changed=False, foreign=foreign)


if __name__ == "__main__":
    main()
