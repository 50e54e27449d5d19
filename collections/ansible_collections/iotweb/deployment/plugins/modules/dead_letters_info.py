#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: dead_letters_info
version_added: 2.0.0
short_description: Count the messages of SQS queues
description:
  - Counts messages that can be received and those that somebody has received and not deleted.
  - The numbers are SQS's approximations, which may be a minute old.
author:
  - IoT receiver contributors (@iotweb)
options:
  queue_urls:
    description: URLs by the queues' names in the result. An empty URL and a queue that does not exist count as empty.
    type: dict
    required: true
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Count the dead letters
  iotweb.deployment.dead_letters_info:
    queue_urls:
      rule: https://sqs.us-east-2.amazonaws.com/123456789012/iot-receiver-rule-dead-letters
"""

RETURN = r"""
queues:
  description: Number of messages by the queues' names.
  type: dict
  returned: always
  sample: {rule: 12, receiver: 0}
total:
  description: Their sum.
  type: int
  returned: always
summary:
  description: The same in words.
  type: str
  returned: always
  sample: 12 dead letters wait (12 of rule, 0 of receiver).
"""

import contextlib
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with contextlib.suppress(ImportError):  # AnsibleAWSModule reports it
    from botocore.exceptions import BotoCoreError, ClientError

COUNTED = [
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
]


def count(client: Any, module: AnsibleAWSModule, url: str) -> int:
    """How many messages a queue has."""
    try:
        answer = client.get_queue_attributes(aws_retry=True, QueueUrl=url, AttributeNames=COUNTED)
    except is_boto3_error_code(["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"]):
        return 0
    except (BotoCoreError, ClientError) as error:
        module.fail_json_aws(error, msg=f"Unable to count the messages of {url} (GetQueueAttributes)")
    return sum(int(answer["Attributes"].get(name, 0)) for name in COUNTED)


def summary(queues: dict[str, int]) -> str:
    """The numbers in words."""
    total = sum(queues.values())
    each = ", ".join(f"{number} of {name}" for name, number in queues.items())
    return f"{total} dead letter{' waits' if total == 1 else 's wait'} ({each})."


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={"queue_urls": {"type": "dict", "required": True}}, supports_check_mode=True
    )
    client = module.client("sqs", retry_decorator=AWSRetry.jittered_backoff())
    urls: dict[str, str] = module.params["queue_urls"]
    queues = {name: count(client, module, url) if url else 0 for name, url in urls.items()}
    module.exit_json(changed=False, queues=queues, total=sum(queues.values()), summary=summary(queues))


if __name__ == "__main__":
    main()
