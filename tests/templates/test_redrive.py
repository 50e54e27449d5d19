"""The redrive's objects, and how its outcome is reported."""

import json
from importlib import import_module
from typing import Any

import pytest
from ansible.plugins.loader import init_plugin_loader

from tests.templates.render import render
from tests.templates.test_receiver import PLACE, receiver

init_plugin_loader()
follow: Any = import_module("ansible_collections.iotweb.deployment.plugins.action.redrive_follow")

TOLD = {
    "rule": {"letters": 12, "redriven": 118, "already_stored": 1, "rejected": 1, "left": 0,
             "reasons": {"temp is not a number": 1}, "kept": ["a-1"], "kept_letters": 1},
    "receiver": {"letters": 0, "redriven": 0, "already_stored": 0, "rejected": 0, "left": 3,
                 "reasons": {}, "kept": [], "kept_letters": 0},
}  # fmt: skip


def dead_letters(template: str, **variables: Any) -> dict[str, Any]:
    """One of role dead_letters' objects, beside a receiver that was deployed with these variables."""
    deployed = {"resources": [receiver("deployment", **variables)]}
    return render("dead_letters", f"{template}.yaml.j2", **(PLACE | variables), dead_letters_receiver=deployed)


def test_no_reading_is_ever_sent_to_its_pod() -> None:
    labels = dead_letters("job")["spec"]["template"]["metadata"]["labels"]
    selector = receiver("service")["spec"]["selector"]
    assert not selector.items() <= labels.items()
    assert dead_letters("network_policy")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_it_has_an_identity_of_its_own_and_no_secret() -> None:
    pod = dead_letters("job")["spec"]["template"]["spec"]
    account = dead_letters("service_account")
    assert pod["serviceAccountName"] == account["metadata"]["name"] == "iot-receiver-redrive"
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] == PLACE["infrastructure_redrive_role_arn"]
    assert [list(volume) for volume in pod["volumes"]] == [["name", "emptyDir"]]


def test_it_stores_as_the_receiver_does() -> None:
    [container] = dead_letters("job", iot_rule_adds_metadata=False, receiver_retention_days=30)["spec"]["template"][
        "spec"]["containers"]
    told = {each["name"]: each["value"] for each in container["env"]}
    [own] = receiver("deployment", iot_rule_adds_metadata=False, receiver_retention_days=30)["spec"]["template"][
        "spec"]["containers"]
    settings = {each["name"]: each["value"] for each in own["env"]}
    assert container["image"] == own["image"]
    assert told["RECEIVER_RULE_DEAD_LETTER_QUEUE_URL"] == PLACE["infrastructure_rule_dead_letter_queue_url"]
    assert told.items() <= settings.items()
    assert told["RECEIVER_RETENTION_DAYS"] == "30"


@pytest.mark.parametrize("made", [dead_letters("job"), receiver("deployment")], ids=["redrive", "receiver"])
def test_its_pod_is_restricted(made: dict[str, Any]) -> None:
    pod = made["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def test_the_table_has_a_line_a_queue() -> None:
    assert follow.table(TOLD) == [
        "queue     letters  redriven  already stored  rejected  left",
        "rule           12       118               1         1     0",
        "receiver        0         0               0         0     3",
    ]
    assert follow.rejections(TOLD) == ["rule, rejected: 1 x temp is not a number", "rule, kept on the queue: a-1"]


KIND = {"reason": "temp is missing", "device": "kit-1", "messages": 3, "letters": 2,
        "first": "2026-01-31T12:00:00.000Z", "last": "2026-01-31T13:00:00.000Z",
        "payload": '{"deviceId":"kit-1","temperature":21.5}'}  # fmt: skip


def test_a_listing_shows_each_device_and_reason_with_a_payload() -> None:
    told = TOLD["receiver"] | {"storable": 5, "dropped": 0, "kinds": [KIND, KIND | {"device": ""}]}
    assert follow.table({"rule": told}, follow.MORE["redrive_listed"])[0].endswith("left  storable")
    assert follow.rejections({"rule": told}) == [
        "rule, kit-1: 3 x temp is missing (2026-01-31T12:00:00.000Z to 2026-01-31T13:00:00.000Z)",
        '    {"deviceId":"kit-1","temperature":21.5}',
        "rule, unknown device: 3 x temp is missing (2026-01-31T12:00:00.000Z to 2026-01-31T13:00:00.000Z)",
        '    {"deviceId":"kit-1","temperature":21.5}',
    ]


@pytest.mark.parametrize(
    ("event", "figures", "changed"),
    [
        ("redrive_listed", {"letters": 9, "storable": 9}, False),
        ("redrive_dropped", {"letters": 9, "dropped": 0}, False),
        ("redrive_dropped", {"letters": 9, "dropped": 2}, True),
        ("redrive_finished", {"letters": 1, "kept_letters": 1}, False),
        ("redrive_finished", {"letters": 2, "kept_letters": 1}, True),
        ("", {"letters": 2}, False),
    ],
)
def test_a_change_is_reported_only_if_there_was_one(event: str, figures: dict[str, int], changed: bool) -> None:
    assert follow.changes(event, {"redriven": 0, "dropped": 0, "kept_letters": 0} | figures) is changed


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ({}, ["redrive"]),
        ({"ansible_check_mode": True}, ["redrive", "list"]),
        ({"ansible_check_mode": True, "dead_letters_drop": {"queue": "rule", "reason": "r"}}, ["redrive", "list"]),
        (
            {"dead_letters_drop": {"queue": "rule", "reason": 'temp: "x" is no number'}},
            ["redrive", "drop", "--queue", "rule", "--reason", 'temp: "x" is no number'],
        ),
        (
            {"dead_letters_drop": {"queue": "receiver", "reason": "r", "device": ""}},
            ["redrive", "drop", "--queue", "receiver", "--reason", "r", "--device", ""],
        ),
    ],
)
def test_a_check_lists_and_only_a_reviewed_kind_is_dropped(given: dict[str, Any], arguments: list[str]) -> None:
    [container] = dead_letters("job", **given)["spec"]["template"]["spec"]["containers"]
    assert container["args"] == arguments


def test_redrive_and_receiver_read_the_declared_measurements() -> None:
    declared = {"humidity": {"attribute": "humidity", "type": "integer"}}
    for made in (dead_letters("job", measurements=declared), receiver("deployment", measurements=declared)):
        [container] = made["spec"]["template"]["spec"]["containers"]
        [text] = [each["value"] for each in container["env"] if each["name"] == "RECEIVER_MEASUREMENTS"]
        assert json.loads(text) == declared


def test_a_job_without_a_last_word_was_killed() -> None:
    log = "\n".join(["Traceback ...", "{", json.dumps({"event": "redrive_progress", "message": "rule: 1"}), "[1]"])
    lines = list(follow.events(log))
    assert [line["event"] for line in lines] == ["redrive_progress"]
    assert "DeadlineExceeded" in follow.outcome(lines, "Failed DeadlineExceeded")["problem"]
    finished = {"event": "redrive_finished", "problem": "", "queues": TOLD}
    assert follow.outcome([*lines, finished], "Complete") == finished
