# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Topic rules compared by meaning: what AWS fills in by itself is no difference."""

from __future__ import annotations

import copy
import re
from typing import Any

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
QUOTED = re.compile(r"('(?:[^']|'')*')")


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
    action["headers"] = sorted(action["headers"], key=lambda header: (header["key"].lower(), header["value"]))
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
    """Return a TopicRulePayload, or the rule that GetTopicRule tells, in the one form that is compared."""
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
