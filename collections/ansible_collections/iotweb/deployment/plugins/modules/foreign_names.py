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
    description:
      - Names by kind, one of C(rule), C(policy), C(thing), C(device), C(repository) and C(destination).
      - Of things and devices it may be a list. A device is a thing that may be without an owner, since one that did not
        answer when its fleet was adopted still is.
      - A destination is named by its URL. It belongs to the rules that post to it, and is passed over where the rule
        among the names is the caller's already.
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
  addresses:
    description: Regular expression of what the domain may point to.
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
from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.tagging import boto3_tag_list_to_ansible_dict
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import of_all_pages
from ansible_collections.iotweb.aws_iot.plugins.module_utils.owner import OWNER_OPTIONS, difference, owner_of
from ansible_collections.iotweb.aws_iot.plugins.module_utils.topic_rule import confirmation_url
from ansible_collections.iotweb.aws_iot.plugins.module_utils.topic_rule_destination import of_url

with contextlib.suppress(ImportError):  # AnsibleAWSModule reports it
    from botocore.exceptions import BotoCoreError, ClientError

Tags = dict[str, str]
Found = Iterable[tuple[str, Tags]]


class Account:
    """Whose resources of a name are. A look raises ClientError where there is none, or where it is not allowed."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        self._client = cache(module.client)
        self._owner = owner_of(module.params)
        iot = self._client("iot")
        self.looks: dict[str, Callable[[Any], Found]] = {
            "rule": lambda name: [(name, self._iot(iot.get_topic_rule(ruleName=name)["ruleArn"]))],
            "policy": lambda name: [(name, self._iot(iot.get_policy(policyName=name)["policyArn"]))],
            "thing": self._things,
            "device": lambda names: (each for each in self._things(names) if set(each[1]) & set(self._owner)),
            "repository": lambda name: [(name, self._repository(name))],
            "destination": self._destination,
        }

    def _things(self, names: list[str] | str) -> Iterator[tuple[str, Tags]]:
        """Those that are not listed as the owner's: a call lists 250 of a fleet, and looks at one alone."""
        for name in [each for each in ([names] if isinstance(names, str) else names) if each not in self._fleet]:
            with contextlib.suppress(ClientError):
                yield name, self._client("iot").describe_thing(thingName=name).get("attributes") or {}

    @cached_property
    def _fleet(self) -> set[str]:
        if not self._owner:
            return set()
        key, value = next(iter(self._owner.items()))
        by = {"attributeName": key, "attributeValue": value, "maxResults": 250}
        try:
            return {thing["thingName"] for thing in of_all_pages(self._client("iot").list_things, "things", by)}
        except ClientError:
            return set()

    def _destination(self, url: str) -> Iterator[tuple[str, Tags]]:
        iot = self._client("iot")
        if not of_url(of_all_pages(iot.list_topic_rule_destinations, "destinationSummaries", {}), url):
            return
        for name in [rule["ruleName"] for rule in of_all_pages(iot.list_topic_rules, "rules", {})]:
            found = iot.get_topic_rule(ruleName=name)
            if url in map(confirmation_url, [*found["rule"]["actions"], found["rule"].get("errorAction") or {}]):
                yield f"{url}, to which rule {name} posts", self._iot(found["ruleArn"])

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
            "addresses": {"default": ""},
            **OWNER_OPTIONS,
        },
        supports_check_mode=True,
    )
    wanted, account = module.params, Account(module)
    foreign: dict[str, str] = {}
    ours: set[str] = set()
    try:
        for kind, name in wanted["names"].items():
            if kind == "destination" and "rule" in ours:
                continue  # or each run would read every rule of the account, as role iot_core does
            with contextlib.suppress(ClientError):
                for each, tags in account.looks[kind](name):
                    if found := difference(tags, wanted):
                        foreign[kind] = ", ".join([*filter(None, [foreign.get(kind)]), f"{each} ({found})"])
                    else:
                        ours.add(kind)
        if wanted["zone"]:
            with contextlib.suppress(ClientError):
                targets = account.targets(wanted["domain"], wanted["zone"])
                others = [to for to in targets if not re.match(wanted["addresses"] or "$", to)]
                foreign |= {"domain": f"{wanted['domain']} (it points to {', '.join(others)})"} if others else {}
    except BotoCoreError as error:
        module.fail_json_aws(error, msg="Cannot look for names that belong to somebody else")
    module.exit_json(changed=False, foreign=foreign)


if __name__ == "__main__":
    main()
