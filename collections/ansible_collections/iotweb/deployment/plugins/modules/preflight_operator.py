#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: preflight_operator
version_added: 2.0.0
short_description: Find out whose AWS credentials these are, and what they or a role may not do
description:
  - Asks STS who the caller is, and IAM (SimulatePrincipalPolicy) whether it or another principal may do what is listed.
  - Changes nothing, and never fails for what it finds. Each fault is returned with its fix.
  - What could not be checked is a warning.
author:
  - IoT receiver contributors (@iotweb)
options:
  account:
    description: Account that the credentials must belong to. Empty means any.
    type: str
    default: ""
  infrastructure_account:
    description: Account that the inventory's own infrastructure is in (C(infrastructure_account_id)). Empty means any.
    type: str
    default: ""
  region:
    description: Region to ask in.
    type: str
    required: true
  principal:
    description: ARN of the role or user to ask about. Empty means the caller.
    type: str
    default: ""
    version_added: 2.0.0
  permissions:
    description:
      - What the caller, or O(principal), must be allowed to do.
      - In resources, C({partition}), C({account}) and C({region}) are filled in.
    type: list
    elements: dict
    default: []
    suboptions:
      actions:
        description: IAM actions.
        type: list
        elements: str
        required: true
      resources:
        description: ARNs the actions apply to.
        type: list
        elements: str
        default: ["*"]
      passed_to:
        description: Service that a role is passed to.
        type: str
      linked_to:
        description: Service whose service-linked role is created.
        type: str
        version_added: 2.0.0
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
"""

EXAMPLES = r"""
- name: Look up the AWS identity
  iotweb.deployment.preflight_operator:
    region: us-east-2
    permissions:
      - actions: [iam:PassRole]
        resources: ["arn:{partition}:iam::{account}:role/iot-receiver-rule"]
        passed_to: iot.amazonaws.com
"""

RETURN = r"""
account:
  description: The caller's account; empty if it could not be asked for.
  type: str
  returned: always
arn:
  description: The caller.
  type: str
  returned: always
faults:
  description: One sentence for each fault, with its fix.
  type: list
  elements: str
  returned: always
reachable:
  description: Whether AWS answered at all.
  type: bool
  returned: always
"""

import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.iotweb.deployment.plugins.module_utils.preflight import CONDITIONS, IMPATIENT

try:
    import boto3
    from botocore import exceptions
    from botocore.config import Config
    from botocore.parsers import ResponseParserError
except ImportError:
    HAS_BOTO3 = False
else:
    HAS_BOTO3 = True


# Where calls of a service that has one endpoint for all regions count as made (aws:RequestedRegion), by partition.
GLOBAL_REGIONS = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
GLOBAL_SERVICES = ("iam:", "route53:")
AT_A_TIME = 5  # questions
PACED = {"retries": {"mode": "adaptive", "max_attempts": 6}}  # IAM throttles an account's calls
SIGN_IN = "Set credentials or AWS_PROFILE in aws_environment (group_vars/all/aws.yml), or sign in again."


def principal(arn: str) -> str | None:
    """The ARN that IAM can simulate for a caller; none for the root user, who may do everything."""
    if arn.endswith(":root"):
        return None
    session = re.fullmatch(r"(arn:[^:]+):sts::(\d+):assumed-role/([^/]+)/.*", arn)
    if session:  # a role's path is not in a session's ARN
        return f"{session[1]}:iam::{session[2]}:role/{session[3]}"
    return arn


def role_with_path(iam: Any, arn: str) -> str:
    """A role's real ARN: IAM Identity Center's roles have paths."""
    if ":role/" not in arn:
        return arn
    found: str = iam.get_role(RoleName=arn.rpartition("/")[2])["Role"]["Arn"]
    return found


def region_of(action: str, names: dict[str, str]) -> str:
    """The region that an action's calls count as made in: a role is passed by a call of the service it is for."""
    is_central = action.startswith(GLOBAL_SERVICES) and action != "iam:PassRole"
    return GLOBAL_REGIONS.get(names["partition"], names["region"]) if is_central else names["region"]


def context(**values: str | None) -> list[dict[str, Any]]:
    """What IAM's simulator needs of a call beside its action and resource: condition keys with their values."""
    keys = {"region": "aws:RequestedRegion", **CONDITIONS}
    return [
        {"ContextKeyName": keys[name], "ContextKeyValues": [value], "ContextKeyType": "string"}
        for name, value in values.items()
        if value
    ]


def denied(iam: Any, source: str, permissions: list[dict[str, Any]], names: dict[str, str]) -> list[str]:
    """Each action that IAM would deny to source, with the resource it is denied on."""

    def ask(action: str, permission: dict[str, Any]) -> list[str]:
        passed_to = permission["passed_to"]
        pages = iam.get_paginator("simulate_principal_policy").paginate(
            PolicySourceArn=source,
            ActionNames=[action],
            ResourceArns=[resource.format(**names) for resource in permission["resources"]],
            ContextEntries=context(
                region=region_of(action, names), passed_to=passed_to, linked_to=permission["linked_to"]
            ),
        )
        return [
            f"{result['EvalActionName']} on {result.get('EvalResourceName', '*')}"
            + (f" when it is passed to {passed_to}" if passed_to else "")
            for page in pages
            for result in page["EvaluationResults"]
            if result["EvalDecision"] != "allowed"
        ]

    # The simulator refuses some actions beside others, which its documentation does not name: each is asked for alone.
    about = [permission for permission in permissions if permission["resources"]]
    asked = [(action, permission) for permission in about for action in permission["actions"]]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return [what for found in pool.map(lambda each: ask(*each), asked) for what in found]


def ambiguous(environment: Mapping[str, str]) -> str:
    """What is wrong with an environment that names a profile and keys, of which every library chooses another."""
    profile = next((name for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if environment.get(name)), None)
    if profile is None or not environment.get("AWS_ACCESS_KEY_ID"):
        return ""
    return (
        f"{profile} ({environment[profile]}) and AWS_ACCESS_KEY_ID are both set, and Terraform, boto3 and Ansible's"
        f" modules do not agree on which of them acts. Keep one: `unset {profile}`, or `unset AWS_ACCESS_KEY_ID"
        ' AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN`. In aws_environment, set the keys to "" or leave the profile out.'
    )


def misspelt(session: Any, region: str) -> str:
    """What is wrong with a region whose name resolves to nothing; empty for one that there is."""
    partitions = session.get_available_partitions()
    regions = [name for partition in partitions for name in session.get_available_regions("sts", partition)]
    if region in regions:
        return ""
    near = " or ".join(get_close_matches(region, regions, n=2))
    return f"There is no region {region}{f'; is {near} meant?' if near else '.'}"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "account": {"type": "str", "default": ""},
            "infrastructure_account": {"type": "str", "default": ""},
            "region": {"type": "str", "required": True},
            "principal": {"type": "str", "default": ""},
            "permissions": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "actions": {"type": "list", "elements": "str", "required": True},
                    "resources": {"type": "list", "elements": "str", "default": ["*"]},
                    "passed_to": {"type": "str", "no_log": False},
                    "linked_to": {"type": "str"},
                },
            },
        },
        supports_check_mode=True,
    )
    if not HAS_BOTO3:
        module.fail_json(msg=missing_required_lib("boto3"))
    wanted = module.params
    answer: dict[str, Any] = {"changed": False, "account": "", "arn": "", "faults": [], "reachable": True}
    if fault := ambiguous(os.environ):
        module.exit_json(**answer | {"faults": [fault]})
    try:
        session = boto3.session.Session(region_name=wanted["region"])
        identity = session.client("sts", config=Config(**IMPATIENT)).get_caller_identity()
    except (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.ProfileNotFound,
    ) as error:
        answer["faults"] = [f"There are no AWS credentials ({error}). {SIGN_IN}"]
    except (exceptions.ConnectionError, exceptions.HTTPClientError) as error:
        if slip := misspelt(session, wanted["region"]):
            answer["faults"] = [f"{slip} Correct aws_region in group_vars/all/aws.yml. (AWS does not answer: {error})"]
        else:
            answer["reachable"] = False
            answer["faults"] = [
                f"AWS does not answer: {error}. Check the network, and aws_environment's AWS_ENDPOINT_URL if set."
            ]
    except (exceptions.BotoCoreError, exceptions.ClientError) as error:
        answer["faults"] = [f"AWS refuses the credentials: {error}. {SIGN_IN}"]
    else:
        answer.update(account=identity["Account"], arn=identity["Arn"])
        check(module, session, answer)
    module.exit_json(**answer)


def check(module: AnsibleModule, session: Any, answer: dict[str, Any]) -> None:
    """Add the faults of a caller whom STS knows."""
    wanted = module.params
    inventory = wanted["infrastructure_account"]
    if inventory and inventory != answer["account"]:
        answer["faults"].append(
            f"The credentials are of account {answer['account']} ({answer['arn']}), but infrastructure_account_id is "
            f"{inventory}. Use credentials of that account, or correct infrastructure_account_id."
        )
    if wanted["account"] and wanted["account"] != answer["account"]:
        answer["faults"].append(
            f"The credentials are of account {answer['account']} ({answer['arn']}), but aws_account_id is "
            f"{wanted['account']}. Use credentials of that account, or correct aws_account_id."
        )
    if answer["faults"]:
        return
    source = wanted["principal"] or principal(answer["arn"])
    if source is None or not wanted["permissions"]:
        return
    names = {
        "partition": answer["arn"].split(":")[1],
        "account": answer["account"],
        "region": wanted["region"],
    }
    iam = session.client("iam", config=Config(**IMPATIENT | PACED))
    try:
        real = wanted["principal"] or role_with_path(iam, source)
        missing = denied(iam, real, wanted["permissions"], names)
    except (exceptions.BotoCoreError, exceptions.ClientError, ResponseParserError) as error:
        module.warn(f"Whether {source} may do all that is needed could not be checked: {error}")
        return
    answer["faults"] += [
        f"{source} may not {what}. Allow it in its IAM policies, its permissions boundary and the organization's"
        " policies; if it works nevertheless, under conditions that IAM's simulator cannot know, set"
        " preflight_permissions_checked: false."
        for what in missing
    ]


if __name__ == "__main__":
    main()
