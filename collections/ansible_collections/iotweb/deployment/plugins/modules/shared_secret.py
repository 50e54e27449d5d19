#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: shared_secret
version_added: 2.0.0
short_description: Give a secret of AWS Secrets Manager its value, and rotate it step by step
description:
  - Makes the secret's value, of 256 random bits, if there is none, and moves its versions' staging labels.
  - The labels are the whole state of a rotation. C(AWSCURRENT) is what a rule reads; a C(AWSPENDING) on another
    version comes next; C(AWSPREVIOUS) is still accepted; C(DROPPED), a label of our own, is no longer accepted, but
    some pod may still hold it. Every step can be repeated, also after an interruption.
  - The value is a JSON object with the one member V(secret), so that an IoT rule reads it as
    C(${get_secret('id', 'SecretString', 'secret', role)}).
  - "Source: AWS Secrets Manager API Reference, PutSecretValue and UpdateSecretVersionStage."
author:
  - IoT receiver contributors (@iotweb)
options:
  secret_id:
    description: Name or ARN of the secret.
    type: str
    required: true
  state:
    description:
      - With V(present), there is a current version.
      - With V(staged), there is a next one as well.
      - With V(promoted), the next one of O(fingerprint) has become current, and the one before previous.
      - With V(dropped), the previous one of O(fingerprint) is no longer accepted.
      - With V(retired), the one of O(fingerprint) has no label any more, previous or dropped.
    type: str
    choices: [present, staged, promoted, dropped, retired]
    default: present
  fingerprint:
    description: The version that is promoted, dropped or retired, by RV(fingerprints).
    type: str
  with_values:
    description: Whether RV(values) are returned. Set C(no_log) then.
    type: bool
    default: false
extends_documentation_fragment:
  - iotweb.aws_iot.attributes
  - amazon.aws.common.modules
  - amazon.aws.region.modules
  - amazon.aws.boto3
"""

EXAMPLES = r"""
- name: Stage the next secret
  iotweb.deployment.shared_secret:
    secret_id: iot-receiver
    state: staged
"""

RETURN = r"""
fingerprints:
  description: >-
    First 12 hex digits of the SHA-256 of the secrets V(current), V(next), V(previous) and V(dropped), as far as there
    are such. The receiver's metrics name secrets in the same way.
  type: dict
  returned: always
values:
  description: The secrets themselves.
  type: dict
  returned: with O(with_values)
unchanged_for:
  description: Time since labels or values last changed, in seconds of AWS's clock.
  type: float
  returned: always
"""

import contextlib
import json
import secrets
import uuid
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from itertools import pairwise
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.amazon.aws.plugins.module_utils.retries import AWSRetry

with contextlib.suppress(ImportError):  # AnsibleAWSModule reports it
    from botocore.exceptions import BotoCoreError, ClientError

LABELS = {"current": "AWSCURRENT", "next": "AWSPENDING", "previous": "AWSPREVIOUS", "dropped": "DROPPED"}
EXISTS = "ResourceExistsException"


def value_of(document: str) -> str:
    """The secret in a version's text.

    Raises:
        ValueError: it is not a JSON object with a member `secret` of 16 or more characters.
    """
    parsed = json.loads(document)
    if not isinstance(parsed, dict) or not isinstance(parsed.get("secret"), str) or len(parsed["secret"]) < 16:
        raise ValueError('expected {"secret": "<16 or more characters>"}')
    return str(parsed["secret"])


def fingerprint(value: str) -> str:
    """What the receiver's metrics call a secret."""
    return sha256(value.encode()).hexdigest()[:12]


def roles_of(stages: dict[str, list[str]]) -> dict[str, str]:
    """The ids of the versions by their part in a rotation. AWSPENDING stays on what has become current, and what is to
    be dropped has both labels for a moment.
    """
    found = {part: version for part, label in LABELS.items() for version, labels in stages.items() if label in labels}
    for part, other in (("next", "current"), ("dropped", "previous")):
        if found.get(part) == found.get(other):
            found.pop(part, None)
    return found


class SharedSecret:
    """The versions of one secret, and the steps that lead on."""

    def __init__(self, module: AnsibleAWSModule) -> None:
        self.module, self.id, self.changed = module, module.params["secret_id"], False
        self.client = module.client("secretsmanager", retry_decorator=AWSRetry.jittered_backoff())
        self.ids: dict[str, str] = {}
        self.values: dict[str, str] = {}
        self.stages: dict[str, list[str]] = {}
        self.arn, self.unchanged_for = "", 0.0
        self.look()

    def call(self, operation: str, *expected: str, **arguments: Any) -> dict[str, Any]:
        """One call. Raises ClientError for the expected codes only; all others end the module."""
        try:
            answer: dict[str, Any] = getattr(self.client, operation)(aws_retry=True, SecretId=self.id, **arguments)
        except is_boto3_error_code(list(expected)):
            raise
        except (BotoCoreError, ClientError) as error:
            self.module.fail_json_aws(error, msg=f"Secret {self.id}: {operation} failed")
        return answer

    def look(self) -> None:
        """Read labels and values."""
        found = self.call("describe_secret")
        self.arn = found["ARN"]
        self.stages = found.get("VersionIdsToStages") or {}
        self.ids = roles_of(self.stages)
        values = {part: self.value(part, version) for part, version in self.ids.items()}
        self.values = {part: value for part, value in values.items() if value is not None}
        date = found["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
        now = parsedate_to_datetime(date) if date else datetime.now(UTC)
        changed = found.get("LastChangedDate") or found["CreatedDate"]
        self.unchanged_for = max(0.0, (now - changed).total_seconds())

    def value(self, part: str, version: str) -> str | None:
        """The secret of a version; what was before the receiver's time is none."""
        try:
            return value_of(self.call("get_secret_value", VersionId=version)["SecretString"])
        except (KeyError, ValueError):
            if part in ("current", "next"):
                self.module.fail_json(
                    msg=f"The version {LABELS[part]} of secret {self.id} is not the receiver's: expected the JSON"
                    ' object {"secret": "<16 or more characters>"}. Put such a value.'
                )
        return None

    def put(self, part: str, token: str) -> None:
        """Make a new version. Its id follows from the token: two runs at once make one."""
        self.changed, self.values[part] = True, secrets.token_hex(32)
        if self.module.check_mode:
            return
        document, label = json.dumps({"secret": self.values[part]}), LABELS[part]
        version = str(uuid.uuid5(uuid.NAMESPACE_URL, token))
        try:
            self.call(
                "put_secret_value", EXISTS, ClientRequestToken=version, SecretString=document, VersionStages=[label]
            )
        except is_boto3_error_code(EXISTS):
            self.look()
            if part not in self.ids:  # made before, and given up: its label was taken away
                self.move(label, None, version)
        self.look()

    def move(self, label: str, source: str | None, target: str | None) -> None:
        """Move a label between versions."""
        places = {"RemoveFromVersionId": source, "MoveToVersionId": target}
        self.changed = True
        if not self.module.check_mode:
            given = {name: version for name, version in places.items() if version}
            self.call("update_secret_version_stage", VersionStage=label, **given)

    def stage(self) -> None:
        """Have a next version."""
        if "next" not in self.values:
            self.put("next", f"after {self.ids.get('current')}")

    def promote(self, wanted: str) -> None:
        """Make the next version the current one."""
        if self.is_part("next", wanted):
            self.move(LABELS["current"], self.ids["current"], self.ids["next"])
            self.moved("previous", "current", "next")
        elif not self.is_part("current", wanted):
            self.lost(wanted, "next")
        pending = [version for version, labels in self.stages.items() if LABELS["next"] in labels]
        if pending == [self.ids.get("current")]:
            self.move(LABELS["next"], pending[0], None)
        self.again()

    def drop(self, wanted: str) -> None:
        """Have the previous version be accepted no more."""
        if self.is_part("previous", wanted):
            version = self.ids["previous"]
            if LABELS["dropped"] not in self.stages[version]:
                self.move(LABELS["dropped"], self.ids.get("dropped"), version)
            self.move(LABELS["previous"], version, None)
            self.moved("dropped", "previous")
        self.again()

    def retire(self, wanted: str) -> None:
        """Let a version go that was the previous one."""
        for part in ("previous", "dropped"):
            if self.is_part(part, wanted):
                self.move(LABELS[part], self.ids[part], None)
                self.moved(part)
        self.again()

    def is_part(self, part: str, wanted: str) -> bool:
        """Whether a part is what the caller means it to be; check mode takes an earlier prediction for true."""
        return part in self.values and fingerprint(self.values[part]) == wanted

    def moved(self, *parts: str) -> None:
        """Each part takes what the one after it was; the last is no more."""
        for known in (self.ids, self.values):
            for to, source in pairwise(parts):
                known[to] = known[source]
            known.pop(parts[-1], None)

    def lost(self, wanted: str, part: str) -> None:
        """What the caller prepared is no longer there."""
        if self.module.check_mode:
            self.changed = True  # it was never made
            return
        self.module.fail_json(
            msg=f"Secret {self.id}: the version {wanted} is not {LABELS[part]} any more, so another run or person"
            " rotates it too. Let them end, then run again."
        )

    def again(self) -> None:
        """Look at what has become of it."""
        if self.changed and not self.module.check_mode:
            self.look()


def main() -> None:
    module = AnsibleAWSModule(
        argument_spec={
            "secret_id": {"type": "str", "required": True, "no_log": False},
            "state": {"choices": ["present", "staged", "promoted", "dropped", "retired"], "default": "present"},
            "fingerprint": {"type": "str"},
            "with_values": {"type": "bool", "default": False},
        },
        required_if=[("state", state, ["fingerprint"]) for state in ("promoted", "dropped", "retired")],
        supports_check_mode=True,
    )
    secret = SharedSecret(module)
    if "current" not in secret.values:
        secret.put("current", f"first of {secret.arn}")
    if module.params["state"] == "staged":
        secret.stage()
    elif module.params["state"] == "promoted":
        secret.promote(module.params["fingerprint"])
    elif module.params["state"] == "dropped":
        secret.drop(module.params["fingerprint"])
    elif module.params["state"] == "retired":
        secret.retire(module.params["fingerprint"])
    module.exit_json(
        changed=secret.changed,
        fingerprints={part: fingerprint(value) for part, value in secret.values.items()},
        unchanged_for=secret.unchanged_for,
        **({"values": secret.values} if module.params["with_values"] else {}),
    )


if __name__ == "__main__":
    main()
