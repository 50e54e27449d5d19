"""Ansible module shared_secret: a secret of Secrets Manager has a value, made once."""

DOCUMENTATION = r"""
module: shared_secret
short_description: Give a secret of AWS Secrets Manager its value, once
description:
  - Reads the secret's current version and makes it, of 256 random bits, if there is none.
  - The value is a JSON object with the one member V(secret), so that an IoT rule reads it as
    C(${get_secret('id', 'SecretString', 'secret', role)}).
  - "Source: AWS Secrets Manager API Reference, GetSecretValue and PutSecretValue."
options:
  secret_id:
    description: Name or ARN of the secret.
    type: str
    required: true
extends_documentation_fragment:
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

RETURN = r"""
current:
  description: The value. Register it under C(no_log).
  type: str
  returned: always
"""

import contextlib
import json
import secrets
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with contextlib.suppress(ImportError):  # AnsibleAWSModule says so
    from botocore.exceptions import BotoCoreError, ClientError


def value_of(document: str) -> str:
    """The secret in a version's text.

    Raises:
        ValueError: it is not a JSON object with a member `secret` of 16 or more characters.
    """
    parsed = json.loads(document)
    if not isinstance(parsed, dict) or not isinstance(parsed.get("secret"), str) or len(parsed["secret"]) < 16:
        raise ValueError('expected {"secret": "<16 or more characters>"}')
    return str(parsed["secret"])


def current(client: Any, module: AnsibleAWSModule, secret_id: str) -> str | None:
    """The current version's secret; None if there is no version yet."""
    try:
        found = client.get_secret_value(aws_retry=True, SecretId=secret_id)
    except is_boto3_error_code("ResourceNotFoundException"):
        return None
    except (BotoCoreError, ClientError) as error:
        module.fail_json_aws(error, msg=f"Unable to read secret {secret_id} (GetSecretValue)")
    try:
        return value_of(found["SecretString"])
    except (KeyError, ValueError):
        module.fail_json(msg=f"The value of secret {secret_id} is not the receiver's: "
                             "expected the JSON object {\"secret\": \"<16 or more characters>\"}")
    return None


def main() -> None:
    """Entry point."""
    module = AnsibleAWSModule(
        argument_spec={"secret_id": {"type": "str", "required": True, "no_log": False}}, supports_check_mode=True
    )
    client = module.client("secretsmanager", retry_decorator=AWSRetry.jittered_backoff())
    secret_id = module.params["secret_id"]
    value = current(client, module, secret_id)
    changed = value is None
    if value is None:
        value = secrets.token_hex(32)
        if not module.check_mode:
            try:
                client.put_secret_value(aws_retry=True, SecretId=secret_id,
                                        SecretString=json.dumps({"secret": value}))
            except (BotoCoreError, ClientError) as error:
                module.fail_json_aws(error, msg=f"Unable to set secret {secret_id} (PutSecretValue)")
    module.exit_json(changed=changed, current=value)


if __name__ == "__main__":
    main()
