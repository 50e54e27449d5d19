# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets that a rule's HTTP actions carry in headers: sent, compared, and shown nowhere."""

from __future__ import annotations

from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule


def with_secrets(action: dict[str, Any] | None, secrets: dict[str, str] | None) -> dict[str, Any] | None:
    """Return the action with the secret headers among its own, if it is one with headers."""
    if not secrets or not action or not isinstance(action.get("http"), dict):
        return action
    named = {name.lower() for name in secrets}
    plain = [one for one in action["http"].get("headers") or [] if str(one.get("key", "")).lower() not in named]
    headers = [*plain, *({"key": name, "value": value} for name, value in secrets.items())]
    return {**action, "http": {**action["http"], "headers": headers}}


def literals(actions: list[dict[str, Any] | None]) -> set[str]:
    """Return the values of headers that are no templates, and long enough to be told from other text."""
    headers = [one for action in actions if action for one in (action.get("http") or {}).get("headers") or []]
    values = {str(one.get("value", "")) for one in headers}
    return {value for value in values if len(value) >= 8 and not value.startswith("${")}


def conceal(module: AnsibleAWSModule, before: dict[str, Any] | None) -> None:
    """Keep out of all output what the rule's headers hold and the task does not say openly."""
    if before:
        said = literals([*(module.params["actions"] or []), module.params["error_action"]])
        held = literals([*before["actions"], before["error_action"]])
        module._module.no_log_values.update(held - said)  # pylint: disable=protected-access
