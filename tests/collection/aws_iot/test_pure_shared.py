"""The pure parts that the modules share: values that fit, names, advice, tags, predictions, the joining of slices."""

from typing import Any

import boto3
import pytest
from ansible_collections.iotweb.aws_iot.plugins.action import iot_topic_rule_destination as action
from ansible_collections.iotweb.aws_iot.plugins.module_utils import errors, policy, shapes, tags
from ansible_collections.iotweb.aws_iot.plugins.module_utils import topic_rule_destination as destination
from ansible_collections.iotweb.aws_iot.plugins.module_utils.iot import IoT

from tests.collection.helpers import document


@pytest.fixture(name="shape", scope="module")
def _shape() -> Any:
    """The arguments of CreateTopicRule, as botocore describes them."""
    client = boto3.client("iot", region_name="us-east-2", aws_access_key_id="a", aws_secret_access_key="b")
    return client.meta.service_model.operation_model("CreateTopicRule").input_shape


class Paged(IoT):
    """A client of two pages."""

    def __init__(self, kind: str, token: str) -> None:
        self.kind, self.token, self.asked = kind, token, []  # type: ignore[var-annotated]

    def find(self, operation: str, **arguments: Any) -> dict[str, Any] | None:
        self.asked.append(arguments)
        return {"things": [2]} if arguments.get(self.token) == "next" else {"things": [1], self.kind: "next"}


@pytest.mark.parametrize(("kind", "token"), [("nextToken", "nextToken"), ("nextMarker", "marker")])
def test_lists_are_read_to_their_end(kind: str, token: str) -> None:
    paged = Paged(kind, token)
    assert paged.list("list_things", "things", thingName="a") == [1, 2]
    assert paged.asked[1] == {"thingName": "a", token: "next"}


def test_values_are_made_to_fit_the_api(shape: Any) -> None:
    given = {
        "sql": 5,
        "ruleDisabled": "No",
        "errorAction": None,
        "actions": [
            {"http": {"url": "u", "headers": [{"key": 1, "value": True}], "enableBatching": "True",
                      "batchConfig": {"maxBatchSize": " 10", "maxBatchOpenMs": "many"}}, "sqs": None},
            {"kafka": {"destinationArn": "a", "topic": "t", "clientProperties": {"acks": 1, "retries": None}}},
            {"unheard": 1},
        ],
    }  # fmt: skip
    assert shapes.fitted(given, shape.members["topicRulePayload"]) == {
        "sql": "5",
        "ruleDisabled": False,
        "actions": [
            {"http": {"url": "u", "headers": [{"key": "1", "value": "true"}], "enableBatching": True,
                      "batchConfig": {"maxBatchSize": 10, "maxBatchOpenMs": "many"}}},
            {"kafka": {"destinationArn": "a", "topic": "t", "clientProperties": {"acks": "1"}}},
            {"unheard": 1},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "faulty"), [("a_1", False), ("a-1", True), ("ä", True), ("a" * 128, False), ("a" * 129, True)]
)
def test_names_are_held_against_the_apis_rule(shape: Any, name: str, faulty: bool) -> None:
    assert bool(shapes.faulty_text({"ruleName": name}, shape)) is faulty
    payload = {"sql": "a - b", "actions": [{"http": {"url": "a b"}}]}
    assert shapes.faulty_text({"topicRulePayload": payload}, shape) == ""


@pytest.mark.parametrize(
    ("attributes", "told"),
    [
        ({"room": "1", "b:c@d/e#f": "[1,2]=3", "empty": ""}, ""),
        ({"k k": "v"}, "attributes name k k must match"),
        ({"k": "a b"}, "attributes k a b must match"),
        ({"k" * 129: "v"}, "no more than 128"),
        ({"k": "v" * 801}, f"attributes k {'v' * 60}... must match"),
    ],
)
def test_attributes_are_held_against_the_apis_rules(attributes: dict[str, str], told: str) -> None:
    client = boto3.client("iot", region_name="us-east-2", aws_access_key_id="a", aws_secret_access_key="b")
    shape = client.meta.service_model.operation_model("CreateThing").input_shape
    arguments = {"thingName": "a", "attributePayload": {"attributes": attributes}}
    found = shapes.faulty_text(arguments, shape)
    assert told in found
    assert bool(found) is bool(told)


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("AccessDeniedException", "not authorized to perform: iam:PassRole", "iam:PassRole"),
        ("InvalidRequestException", "Unable to assume role, role ARN: r", "iot.amazonaws.com"),
        ("UnauthorizedException", "denied", "iot:ReplaceTopicRule"),
        ("ExpiredTokenException", "expired", "credentials"),
        ("SqlParseException", "Expected a SELECT", "sql"),
        ("SomethingNew", "text", ""),
    ],
)
def test_errors_come_with_advice(code: str, text: str, expected: str) -> None:
    told = errors.advice(code, text, "replace_topic_rule")
    assert expected in told
    assert bool(told) is bool(expected)


def test_messages_name_what_a_call_was_about_and_no_values() -> None:
    assert errors.subject({"ruleName": "r", "topicRulePayload": {"sql": "secret"}}) == " of r"
    assert errors.subject({"policyName": "p", "target": "t"}) == " of p and t"
    assert errors.subject({"confirmationToken": "secret"}) == ""


@pytest.mark.parametrize(
    ("asked", "purge", "expected"),
    [
        (None, True, {"a": "1", "aws:x": "y"}),
        ({"b": 2, "c": True}, True, {"b": "2", "c": "true", "aws:x": "y"}),
        ({"b": None, "c": ""}, True, {"b": "", "c": "", "aws:x": "y"}),
        ({"b": 2}, False, {"a": "1", "b": "2", "aws:x": "y"}),
        ({}, True, {"aws:x": "y"}),
        ({"a": "1"}, True, {"a": "1", "aws:x": "y"}),
    ],
)
def test_tags_that_are_not_asked_for_stay_or_go(asked: Any, purge: bool, expected: dict[str, str]) -> None:
    before = {"a": "1", "aws:x": "y"}
    assert tags.desired_tags(before, {"tags": asked, "purge_tags": purge}) == expected


def test_a_policy_is_what_was_asked_and_what_was_there() -> None:
    params: dict[str, Any] = {"name": "p", "document": '{"Version": "2012-10-17", "Statement": []}', "targets": None,
                              "purge_targets": False, "tags": None, "purge_tags": True}  # fmt: skip
    held = {"policy_name": "p", "policy_arn": "arn", "default_version_id": "3", "targets": ["x"], "tags": {},
            "document": document("a")}  # fmt: skip
    changed = policy.desired(held, params)
    assert "default_version_id" not in changed
    assert changed["targets"] == ["x"]
    assert policy.desired({**held, "document": changed["document"]}, params)["default_version_id"] == "3"
    assert policy.desired(held, params | {"targets": ["w"]})["targets"] == ["w", "x"]
    assert policy.desired(held, params | {"targets": ["w"], "purge_targets": True})["targets"] == ["w"]
    assert policy.agrees(held, held)
    assert not policy.agrees({**held, "targets": []}, held)
    assert not policy.agrees(None, held)


@pytest.mark.parametrize(
    ("status", "state", "wait", "step", "expected"),
    [
        (None, "enabled", True, "create", (True, "ENABLED")),
        (None, "enabled", False, "create", (True, "IN_PROGRESS")),
        ("DELETING", "enabled", True, "wait", (True, "ENABLED")),
        ("IN_PROGRESS", "enabled", True, "wait", (True, "ENABLED")),
        ("IN_PROGRESS", "enabled", False, "wait", (False, "IN_PROGRESS")),
        ("IN_PROGRESS", "enabled", False, "confirm", (True, "ENABLED")),
        ("ERROR", "enabled", False, "IN_PROGRESS", (True, "IN_PROGRESS")),
        ("DISABLED", "enabled", False, "ENABLED", (True, "ENABLED")),
        ("ENABLED", "enabled", True, "done", (False, "ENABLED")),
        ("ENABLED", "absent", True, "delete", (True, None)),
        ("DELETING", "absent", True, "wait", (False, None)),
        (None, "absent", False, "done", (False, None)),
    ],
)
def test_a_destinations_run_is_foreseen(
    status: str | None, state: str, wait: bool, step: str, expected: tuple[bool, str | None]
) -> None:
    before = {"arn": "a", "confirmation_url": "u", "status": status, "status_reason": "r"} if status else None
    changed, after = destination.predicted(before, {"state": state, "wait": wait, "confirmation_url": "u"}, step)
    assert (changed, after["status"] if after else None) == expected
    assert not after or ("arn" in after) is (status not in (None, "DELETING"))


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [({}, 120), ({"wait": "no"}, 0), ({"wait_timeout": "30"}, 30), ({"wait_timeout": "x"}, 0), ({"wait": "x"}, 0)],
)
def test_the_whole_wait_is_known(arguments: dict[str, Any], seconds: int) -> None:
    assert action.whole_wait(arguments) == seconds


def test_slices_of_a_wait_are_one_result() -> None:
    first = {"failed": True, "timed_out": True, "before": {}, "changed": True,
             "progress": [{"status": "ABSENT", "after": 0.0}, {"status": "IN_PROGRESS", "after": 0.5}]}  # fmt: skip
    last = {"changed": False, "destination": {"status": "ENABLED"},
            "diff": {"before": {"status": "IN_PROGRESS"}, "after": {"status": "ENABLED"}},
            "progress": [{"status": "IN_PROGRESS", "after": 0.0}, {"status": "ENABLED", "after": 2.0}]}  # fmt: skip
    whole = action.joined([(0.0, first), (10.0, last)])
    assert whole["changed"]
    assert "failed" not in whole
    assert whole["diff"] == {"before": {}, "after": {"status": "ENABLED"}}
    assert [(seen["status"], seen["after"]) for seen in whole["progress"]] == [
        ("ABSENT", 0.0), ("IN_PROGRESS", 0.5), ("ENABLED", 12.0)]  # fmt: skip
    assert action.joined([(0.0, last)]) == last
