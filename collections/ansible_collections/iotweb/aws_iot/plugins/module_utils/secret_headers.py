# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Secrets that a rule's HTTP actions carry in headers: sent, compared, and shown nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule
from ansible_collections.iotweb.aws_iot.plugins.module_utils.tags import as_text

HIDDEN = "(hidden)"
TEMPLATE = re.compile(r"\$\{[^{}]*\}")  # says where a value comes from, and holds none
TELLING = 8  # characters from which a secret is not a part of other text by chance

Action = dict[str, Any]
Rule = dict[str, Any]
Secrets = dict[str, str]
Headers = set[tuple[str, str]]


def taken(module: AnsibleAWSModule) -> Secrets:
    """Return the task's secrets, and leave none among the options, which Ansible prints.

    Ansible masks a secret option's values wherever a result has them. A short one is a part of other text by chance,
    such as of an account's number, which must not be garbled: it is hidden in its place alone.
    """
    given = module.params["secret_headers"]
    if given is None:
        return {}
    module.params["secret_headers"] = dict.fromkeys(given, HIDDEN)
    masked = module._module.no_log_values  # pylint: disable=protected-access
    for name, value in given.items():
        texts = {str(one) for one in (value if isinstance(value, list) else [value])}
        masked.difference_update({text for text in texts if len(text) < TELLING})
        if value is None or isinstance(value, (dict, list)):
            module.fail_json(msg=f"secret_headers.{name} must be text or a number: give that, or leave the header out.")
    return as_text(given)


def with_secrets(action: Action, secrets: Secrets) -> Action:
    """Return an action of the API with the secret headers among its own, if it is one with headers."""
    if not secrets or "http" not in action:
        return action
    named = {name.lower() for name in secrets}
    plain = [one for one in action["http"].get("headers", []) if one["key"].lower() not in named]
    headers = [*plain, *({"key": name, "value": value} for name, value in secrets.items())]
    return {**action, "http": {**action["http"], "headers": headers}}


def open_headers(actions: list[Action], secrets: Secrets) -> Headers:
    """Return the headers that a task shows by itself, each as its name in lower case and its value."""
    named = {name.lower() for name in secrets}
    headers = [one for action in actions for one in action.get("http", {}).get("headers", [])]
    return {(one["key"].lower(), one["value"]) for one in headers if one["key"].lower() not in named}


def without_secrets(rule: Rule | None, known: Headers, placeholder: Callable[[str], str]) -> Rule | None:
    """Return a described rule with placeholders for the values of headers that the task does not show by itself."""
    if not rule:
        return rule

    def header(one: dict[str, str]) -> dict[str, str]:
        name, value = one["key"], one["value"]
        plain = (name.lower(), value) in known or TEMPLATE.fullmatch(value)
        return one if plain else {**one, "value": placeholder(value)}

    def action(one: Action) -> Action:
        if not one.get("http", {}).get("headers"):
            return one
        return {**one, "http": {**one["http"], "headers": [header(each) for each in one["http"]["headers"]]}}

    error_action = action(rule["error_action"]) if rule["error_action"] else None
    return {**rule, "actions": [action(one) for one in rule["actions"]], "error_action": error_action}


def numbered() -> Callable[[str], str]:
    """Return placeholders for a diff: equal values get equal ones, so that a change shows, and nothing else does."""
    numbers: dict[str, int] = {}
    return lambda value: f"(hidden, value {numbers.setdefault(value, len(numbers) + 1)})"
