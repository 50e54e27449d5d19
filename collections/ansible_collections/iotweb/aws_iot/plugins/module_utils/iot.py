# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the AWS IoT modules share: a client that retries, lists read to their end, failures that name the call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

with suppress(ImportError):  # AnsibleAWSModule tells the user
    from botocore.exceptions import BotoCoreError, ClientError

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

# Beside AWSRetry's own list: IoT answers these while a write of the same resource is still spreading.
RETRIED_CODES = [
    "ConflictingResourceUpdateException",
    "DeleteConflictException",
    "InternalException",
    "InternalFailureException",
    "ServiceUnavailableException",
    "ThrottlingException",
]
MISSING_CODE = "ResourceNotFoundException"


class IoT:
    """AWS IoT's control plane as a module sees it.

    Calls take botocore's names and arguments. A call that fails ends the module with the call's name,
    except where the caller lists the error codes it can deal with.
    """

    def __init__(self, module: AnsibleAWSModule) -> None:
        self.module = module
        self.client = module.client(
            "iot", retry_decorator=AWSRetry.jittered_backoff(catch_extra_error_codes=RETRIED_CODES)
        )

    def call(self, operation: str, expected: tuple[str, ...] = (), **arguments: Any) -> dict[str, Any]:
        """Return the answer without its metadata. Raises ClientError for the expected codes only."""
        try:
            answer = getattr(self.client, operation)(aws_retry=True, **arguments)
        except is_boto3_error_code(list(expected)):
            raise
        except (BotoCoreError, ClientError) as error:
            self.module.fail_json_aws(error, msg=f"AWS IoT {operation} failed")
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}

    def find(self, operation: str, **arguments: Any) -> dict[str, Any] | None:
        """Return the answer, or None where the resource does not exist."""
        try:
            return self.call(operation, (MISSING_CODE,), **arguments)
        except is_boto3_error_code(MISSING_CODE):
            return None

    def list(self, operation: str, member: str, **arguments: Any) -> list[Any]:
        """Return the named member of all pages; a resource that isn't there has none.

        IoT pages by nextToken or by marker, one kind a call.
        """
        found: list[Any] = []
        while True:
            page = self.find(operation, **arguments) or {}
            found += page.get(member, [])
            if page.get("nextToken"):
                arguments["nextToken"] = page["nextToken"]
            elif page.get("nextMarker"):
                arguments["marker"] = page["nextMarker"]
            else:
                return found


class Plan:
    """The writes that lead from what is to what should be: collected first, so that check mode knows them too."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        self.module = module
        self.changed = False

    def write(self, action: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Do the write, or only note it in check mode (None is returned then)."""
        self.changed = True
        if self.module.check_mode:
            return None
        return action(*arguments, **named)


def differs(before: Any, after: Any) -> dict[str, Any]:
    """Return Ansible's diff of two states; a resource that isn't there is an empty one."""
    return {"before": before or {}, "after": after or {}}
