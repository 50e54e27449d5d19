"""The redrive's objects, and how its end is told."""

import importlib.util
import json
from typing import Any

import pytest

from tests.templates.render import ROLES
from tests.templates.test_receiver import PLACE, receiver

SPEC = importlib.util.spec_from_file_location(
    "redrive_follow",
    ROLES.parent / "collections/ansible_collections/iotweb/deployment/plugins/action/redrive_follow.py",
)
assert SPEC
assert SPEC.loader
follow: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(follow)

TOLD = {
    "rule": {"letters": 12, "redriven": 118, "already_stored": 1, "rejected": 1, "left": 0,
             "reasons": {"temp is not a number": 1}, "kept": ["a-1"], "kept_letters": 1},
    "receiver": {"letters": 0, "redriven": 0, "already_stored": 0, "rejected": 0, "left": 3,
                 "reasons": {}, "kept": [], "kept_letters": 0},
}  # fmt: skip


def test_no_reading_is_ever_sent_to_its_pod() -> None:
    labels = receiver("redrive_job")["spec"]["template"]["metadata"]["labels"]
    selector = receiver("service")["spec"]["selector"]
    assert not selector.items() <= labels.items()
    assert receiver("redrive_network_policy")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_it_has_an_identity_of_its_own_and_no_secret() -> None:
    pod = receiver("redrive_job")["spec"]["template"]["spec"]
    account = receiver("redrive_service_account")
    assert pod["serviceAccountName"] == account["metadata"]["name"] == "iot-receiver-redrive"
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] == PLACE["infrastructure_redrive_role_arn"]
    assert [list(volume) for volume in pod["volumes"]] == [["name", "emptyDir"]]


def test_it_stores_as_the_receiver_does() -> None:
    [container] = receiver("redrive_job", iot_rule_adds_metadata=False, receiver_retention_days=30)["spec"]["template"][
        "spec"]["containers"]
    told = {each["name"]: each["value"] for each in container["env"]}
    [own] = receiver("deployment", iot_rule_adds_metadata=False, receiver_retention_days=30)["spec"]["template"][
        "spec"]["containers"]
    settings = {each["name"]: each["value"] for each in own["env"]}
    assert container["image"] == own["image"]
    assert told["RECEIVER_RULE_DEAD_LETTER_QUEUE_URL"] == PLACE["infrastructure_rule_dead_letter_queue_url"]
    assert told.items() <= settings.items()
    assert told["RECEIVER_RETENTION_DAYS"] == "30"


@pytest.mark.parametrize("template", ["redrive_job", "deployment"])
def test_its_pod_is_restricted(template: str) -> None:
    pod = receiver(template)["spec"]["template"]["spec"]
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


def test_a_job_without_a_last_word_was_killed() -> None:
    log = "\n".join(["Traceback ...", "{", json.dumps({"event": "redrive_progress", "message": "rule: 1"}), "[1]"])
    lines = list(follow.events(log))
    assert [line["event"] for line in lines] == ["redrive_progress"]
    assert "DeadlineExceeded" in follow.outcome(lines, "Failed DeadlineExceeded")["problem"]
    finished = {"event": "redrive_finished", "problem": "", "queues": TOLD}
    assert follow.outcome([*lines, finished], "Complete") == finished
