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

    changed = run("iot_topic_rule", **rule("hidden", plain, secret_headers={"X-Secret": NEW}), sql_version="2015-10-08")
    assert changed["changed"]
    assert {"key": "X-Secret", "value": NEW} in held(aws, "hidden")
    shown = json.dumps([made, changed])
    assert OLD not in shown
    assert NEW not in shown
    assert changed["diff"]["before"]["sql_version"] != changed["diff"]["after"]["sql_version"] == "2015-10-08"
    assert "telemetry" in shown


def test_only_headers_are_hidden_whatever_they_hold(run: Run, aws: Callable[[str], Any]) -> None:
    """A rule that somebody made by hand, whose headers hold what other values hold, too, and short secrets."""
    headers = [
        {"key": "X-Topic", "value": "things/telemetry"},
        {"key": "X-Region", "value": "us-east-2"},
        {"key": "X-Pin", "value": "4711"},
    ]
    action = {"http": {"url": "https://receiver.example/ingest", "headers": headers}}
    sql = "SELECT * FROM 'things/telemetry'"
    aws("iot").create_topic_rule(ruleName="by_hand", topicRulePayload={"sql": sql, "actions": [action]})
    taken = run("iot_topic_rule", **rule("by_hand", headers[1]) | {"sql": sql})
    seen = aws("iot").get_topic_rule(ruleName="by_hand")
    assert taken["rule"]["arn"] == seen["ruleArn"]
    assert taken["rule"]["sql"] == taken["diff"]["before"]["sql"] == seen["rule"]["sql"] == sql
    before = {one["key"]: one["value"] for one in taken["diff"]["before"]["actions"][0]["http"]["headers"]}
    assert before["X-Region"] == "us-east-2"
    assert before["X-Topic"].startswith("(hidden")
    assert before["X-Pin"].startswith("(hidden")
    assert "4711" not in json.dumps(taken)


def test_a_short_secret_garbles_nothing_and_shows_nowhere(run: Run, aws: Callable[[str], Any]) -> None:
    for secret in (12, "us-east", True):
        made = run("iot_topic_rule", **rule("short", secret_headers={"X-Pin": secret}))
        seen = aws("iot").get_topic_rule(ruleName="short")
        assert made["rule"]["arn"] == seen["ruleArn"]
        assert made["rule"]["actions"][0]["http"]["headers"] == [{"key": "X-Pin", "value": "(hidden)"}]
        assert made["invocation"]["module_args"]["secret_headers"] == {"X-Pin": "(hidden)"}
        assert held(aws, "short") == [{"key": "X-Pin", "value": str(secret).lower()}]
        assert not run("iot_topic_rule", **rule("short", secret_headers={"X-Pin": secret}))["changed"]
    for faulty in (None, ["a"]):
        assert "secret_headers.X-Pin" in run("iot_topic_rule", **rule("short", secret_headers={"X-Pin": faulty}))["msg"]


def test_a_diff_shows_that_a_secret_changed_and_no_more(run: Run) -> None:
    run("iot_topic_rule", **rule("turned", secret_headers={"X-Secret": OLD}))
    for check in (True, False):
        turned = run("iot_topic_rule", check=check, **rule("turned", secret_headers={"X-Secret": NEW}))
        before, after = (
            turned["diff"][side]["actions"][0]["http"]["headers"][0]["value"] for side in ("before", "after")
        )
        assert (before, after) == ("(hidden, value 1)", "(hidden, value 2)")
    again = run("iot_topic_rule", **rule("turned", secret_headers={"X-Secret": NEW}))
    assert again["diff"]["before"] == again["diff"]["after"]
    assert again["rule"] == turned["rule"]


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
