"""Ansible module iot_rule_disabled: a topic rule, whatever it says, is not in force."""

DOCUMENTATION = r"""
module: iot_rule_disabled
short_description: Switch a topic rule of AWS IoT Core off
description:
  - Disables the rule as it stands, without a word about its statement or actions; a rule that is not there is off.
  - "Source: AWS IoT API Reference, GetTopicRule and DisableTopicRule."
options:
  name:
    description: Name of the rule.
    type: str
    required: true
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

RETURN = r"""
exists:
  description: Whether there is such a rule.
  type: bool
  returned: always
"""

import contextlib
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with contextlib.suppress(ImportError):  # AnsibleAWSModule says so
    from botocore.exceptions import BotoCoreError, ClientError


def look(client: Any, module: AnsibleAWSModule, name: str) -> Any:
    """The rule; None if there is none."""
    try:
        return client.get_topic_rule(aws_retry=True, ruleName=name)["rule"]
    except is_boto3_error_code("ResourceNotFoundException"):
        return None
    except is_boto3_error_code("UnauthorizedException"):
        # AWS's answer to the name of a rule that is not there, too: only its list tells them apart.
        try:
            rules = client.get_paginator("list_topic_rules").paginate().build_full_result()["rules"]
        except (BotoCoreError, ClientError) as error:
            module.fail_json_aws(error, msg="Unable to list the topic rules (ListTopicRules)")
        return next(({"ruleDisabled": rule["ruleDisabled"]} for rule in rules if rule["ruleName"] == name), None)
    except (BotoCoreError, ClientError) as error:
        module.fail_json_aws(error, msg=f"Unable to read rule {name} (GetTopicRule)")


def main() -> None:
    """Entry point."""
    module = AnsibleAWSModule(argument_spec={"name": {"required": True}}, supports_check_mode=True)
    client = module.client("iot", retry_decorator=AWSRetry.jittered_backoff())
    name = module.params["name"]
    rule = look(client, module, name)
    changed = rule is not None and not rule.get("ruleDisabled")
    if changed and not module.check_mode:
        try:
            client.disable_topic_rule(aws_retry=True, ruleName=name)
        except (BotoCoreError, ClientError) as error:
            module.fail_json_aws(error, msg=f"Unable to disable rule {name} (DisableTopicRule)")
    module.exit_json(changed=changed, exists=rule is not None)


if __name__ == "__main__":
    main()
