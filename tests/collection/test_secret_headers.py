"""A rule's secret headers: sent, compared, and never shown."""

import json
from collections.abc import Callable
from typing import Any

Run = Callable[..., dict[str, Any]]
OLD, NEW = "0ld" * 12, "n3w" * 12
TEMPLATE = "${get_secret('s', 'SecretString', 'k', 'arn:aws:iam::123456789012:role/r')}"


def rule(name: str, *headers: dict[str, str], **options: Any) -> dict[str, Any]:
    """Options of a rule with one HTTP action."""
    http = {"url": "https://receiver.example/ingest", "headers": [*headers]}
    return {"name": name, "sql": "SELECT * FROM 'a'", "actions": [{"http": http}], **options}


def held(aws: Callable[[str], Any], name: str) -> list[dict[str, str]]:
    """Headers of the rule, for a foreign client."""
    [action] = aws("iot").get_topic_rule(ruleName=name)["rule"]["actions"]
    headers: list[dict[str, str]] = action["http"]["headers"]
    return headers


def test_secret_headers_are_sent_and_not_shown(run: Run, aws: Callable[[str], Any]) -> None:
    plain = {"key": "X-Kind", "value": "telemetry"}
    secret = {"secret_headers": {"X-Secret": OLD}}
    made = run("iot_topic_rule", **rule("hidden", plain, {"key": "x-secret", "value": ""}, **secret))
    assert made["changed"]
    assert sorted(held(aws, "hidden"), key=str) == [plain, {"key": "X-Secret", "value": OLD}]
    assert not run("iot_topic_rule", **rule("hidden", plain, **secret))["changed"]

    changed = run("iot_topic_rule", **rule("hidden", plain, secret_headers={"X-Secret": NEW}), sql_version="beta")
    assert changed["changed"]
    assert {"key": "X-Secret", "value": NEW} in held(aws, "hidden")
    shown = json.dumps([made, changed])
    assert OLD not in shown
    assert NEW not in shown
    assert changed["diff"]["before"]["sql_version"] != changed["diff"]["after"]["sql_version"] == "beta"
    assert "telemetry" in shown


def test_a_secret_that_gives_way_is_not_shown(run: Run, aws: Callable[[str], Any]) -> None:
    run("iot_topic_rule", **rule("moved", secret_headers={"X-Secret": OLD}))
    moved = run("iot_topic_rule", **rule("moved", {"key": "X-Secret", "value": TEMPLATE}))
    assert held(aws, "moved") == [{"key": "X-Secret", "value": TEMPLATE}]
    assert TEMPLATE in json.dumps(moved["diff"]["after"])
    run("iot_topic_rule", **rule("moved", secret_headers={"X-Secret": NEW}))
    gone = run("iot_topic_rule", name="moved", state="absent")
    assert gone["changed"]
    assert OLD not in json.dumps(moved)
    assert NEW not in json.dumps(gone)
