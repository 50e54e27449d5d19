# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Topic rules compared by meaning: what AWS fills in by itself is no difference."""

from __future__ import annotations

import copy
import re
import time
from typing import Any

from ansible_collections.amazon.aws.plugins.module_utils.botocore import is_boto3_error_code
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import MISSING, IoT
from ansible_collections.iotweb.aws_iot.plugins.module_utils.tags import current_tags

SQL_VERSION = "2015-10-08"  # what a rule without a version gets
# What an action does where the caller says nothing (AWS IoT API reference, the type of each action).
ACTION_DEFAULTS: dict[str, dict[str, Any]] = {
    "http": {"headers": [], "enableBatching": False},
    "sqs": {"useBase64": False},
    "sns": {"messageFormat": "RAW"},
    "republish": {"qos": 0},
    "firehose": {"batchMode": False},
    "cloudwatchLogs": {"batchMode": False},
    "iotAnalytics": {"batchMode": False},
    "iotEvents": {"batchMode": False},
}
BATCH_DEFAULTS = {
    "maxBatchOpenMs": 20,
    "maxBatchSize": 10,
    "maxBatchSizeBytes": 5120,
    "batchAcrossTopics": False,
}
QUOTED = re.compile(r"""('(?:[^']|'')*'|"(?:[^"\\]|\\.)*")""")
DENIED = "UnauthorizedException"


def normal_sql(sql: str) -> str:
    """Return a statement with single spaces outside of its strings."""
    parts = QUOTED.split(sql)
    parts[::2] = [re.sub(r"\s+", " ", part) for part in parts[::2]]
    return "".join(parts).strip()


def without_nothing(value: Any) -> Any:
    """Return a structure without the members that are None, as AWS leaves them out."""
    if isinstance(value, dict):
        return {name: without_nothing(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [without_nothing(member) for member in value]
    return value


def normal_http(action: dict[str, Any]) -> dict[str, Any]:
    """Return an HTTP action whose defaults are written out; the order of headers says nothing."""
    action.setdefault("confirmationUrl", action.get("url", ""))
    action["headers"] = sorted(
        action["headers"], key=lambda header: (str(header.get("key")).lower(), str(header.get("value")))
    )
    if action["enableBatching"]:
        action["batchConfig"] = {**BATCH_DEFAULTS, **(action.get("batchConfig") or {})}
    else:
        action.pop("batchConfig", None)
    return action


def normal_action(action: dict[str, Any]) -> dict[str, Any]:
    """Return an action, a mapping of its one type to its settings, with defaults written out."""
    normal = {}
    for kind, settings in without_nothing(copy.deepcopy(action)).items():
        filled = {**ACTION_DEFAULTS.get(kind, {}), **settings}
        normal[kind] = normal_http(filled) if kind == "http" else filled
    return normal


def normal_rule(payload: dict[str, Any] | None) -> dict[str, Any]:
    """Return a TopicRulePayload, or the rule that GetTopicRule returns, in the one form that is compared."""
    if payload is None:
        return {}
    error_action = payload.get("errorAction")
    return {
        "sql": normal_sql(payload["sql"]),
        "description": payload.get("description") or "",
        "actions": [normal_action(action) for action in payload.get("actions") or []],
        "errorAction": normal_action(error_action) if error_action else None,
        "ruleDisabled": bool(payload.get("ruleDisabled")),
        "awsIotSqlVersion": payload.get("awsIotSqlVersion") or SQL_VERSION,
    }


def difference(current: dict[str, Any] | None, wanted: dict[str, Any]) -> str:
    """Return the call that brings a rule to what is wanted: create, replace, enable, disable or nothing."""
    if current is None:
        return "create"
    before, after = normal_rule(current), normal_rule(wanted)
    disabled = after.pop("ruleDisabled")
    if disabled != before.pop("ruleDisabled"):
        return "replace" if before != after else "disable" if disabled else "enable"
    return "replace" if before != after else "nothing"


def get_rule(iot: IoT, name: str) -> dict[str, Any] | None:
    """Return GetTopicRule's answer, None for no rule.

    AWS answers UnauthorizedException for a rule that isn't there, so the list decides. One that is listed may have
    been made since, hence another look.
    """
    for pause in (0.5, 2.0, 0.0):
        try:
            return iot.call("get_topic_rule", (DENIED, MISSING), ruleName=name)
        except is_boto3_error_code([DENIED, MISSING]) as refused:
            if all(rule["ruleName"] != name for rule in iot.list("list_topic_rules", "rules")):
                return None
            if not pause:
                iot.fail(refused, "get_topic_rule", {"ruleName": name})
        time.sleep(pause)
    return None


def described(name: str, arn: str | None, rule: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
    """Return a rule as the module returns it, in the spelling that AWS has of it."""
    return {
        "name": name,
        **({"arn": arn} if arn else {}),
        "sql": rule["sql"],
        "sql_version": rule.get("awsIotSqlVersion") or SQL_VERSION,
        "description": rule.get("description") or "",
        "actions": without_nothing(rule.get("actions") or []),
        "error_action": without_nothing(rule.get("errorAction")) or None,
        "enabled": not rule.get("ruleDisabled"),
        "tags": tags,
    }


def shown(rule: dict[str, Any] | None) -> dict[str, Any]:
    """Return what a diff shows of a described rule: the form in which rules are compared."""
    if not rule:
        return {}
    actions = [normal_action(action) for action in rule["actions"]]
    error_action = normal_action(rule["error_action"]) if rule["error_action"] else None
    return {**rule, "sql": normal_sql(rule["sql"]), "actions": actions, "error_action": error_action}


def current_rule(iot: IoT, name: str) -> dict[str, Any] | None:
    """Return a rule as the module returns it, None for no rule."""
    answer = get_rule(iot, name)
    if answer is None:
        return None
    return described(name, answer["ruleArn"], answer["rule"], current_tags(iot, answer["ruleArn"]))


def posting_rules(iot: IoT, url: str) -> list[dict[str, Any]]:
    """Return the rules whose HTTP actions need the destination of a URL: two calls for each rule of the account."""
    names = [rule["ruleName"] for rule in iot.list("list_topic_rules", "rules")]
    rules = [rule for rule in (current_rule(iot, name) for name in names) if rule]
    return [rule for rule in rules if url in map(confirmation_url, [*rule["actions"], rule["error_action"] or {}])]


def confirmation_url(action: dict[str, Any]) -> str | None:
    """Return the URL of the destination that an action needs, None for an action other than HTTP."""
    http = action.get("http") or {}
    return http.get("confirmationUrl") or http.get("url")


def payload(rule: dict[str, Any]) -> dict[str, Any]:
    """Return the TopicRulePayload of a rule as the module returns it."""
    return {
        "sql": rule["sql"],
        "description": rule["description"],
        "actions": rule["actions"],
        "ruleDisabled": not rule["enabled"],
        "awsIotSqlVersion": rule["sql_version"],
        **({"errorAction": rule["error_action"]} if rule["error_action"] else {}),
    }


def agrees(found: dict[str, Any] | None, wanted: dict[str, Any]) -> bool:
    """Return whether a rule that was read is the one that was written; both as the module returns them."""
    return bool(
        found and difference(payload(found), payload(wanted)) == "nothing" and found["tags"] == wanted["tags"]
    )
