"""Questions to IAM about the roles of pods and rule, and the load balancer controller's errors in a run's messages."""

import json
import re
from typing import Any

from tests.support.paths import ROOT
from tests.templates.render import variable

ROLE = "arn:aws:iam::123456789012:role/"
INFRASTRUCTURE: dict[str, Any] = {
    "infrastructure_receiver_role_arn": f"{ROLE}receiver",
    "infrastructure_rule_role_arn": f"{ROLE}rule",
    "infrastructure_table_arn": "arn:aws:dynamodb:us-east-2:123456789012:table/readings",
    "infrastructure_rule_dead_letter_queue_arn": "arn:aws:sqs:us-east-2:123456789012:rule",
    "infrastructure_receiver_dead_letter_queue_arn": "",
    "infrastructure_secret_arn": "arn:aws:secretsmanager:us-east-2:123456789012:secret:s-abcdef",
    "infrastructure_partition": "aws",
    "infrastructure_account_id": "123456789012",
    "terraform_enabled": False,
}


def asked(**variables: Any) -> dict[str, dict[str, list[str]]]:
    """The resources of each action, by role."""
    found = variable("preflight", "__preflight_role_permissions | selectattr('role')", **INFRASTRUCTURE | variables)
    return {
        one["role"].removeprefix(ROLE): {
            action: each.get("resources", ["*"]) for each in one["permissions"] for action in each["actions"]
        }
        for one in found
    }


def test_an_inventory_may_have_neither_queue_nor_roles_for_redrive_and_readings() -> None:
    found = asked()
    assert found.keys() == {"receiver", "rule"}
    assert found["receiver"]["sqs:SendMessage"] == []
    assert found["receiver"]["sqs:GetQueueAttributes"] == [INFRASTRUCTURE["infrastructure_rule_dead_letter_queue_arn"]]
    assert "readings" in asked(infrastructure_readings_role_arn=f"{ROLE}readings")


def test_karpenter_is_asked_for_where_it_adds_nodes() -> None:
    role = {"infrastructure_karpenter_role_arn": f"{ROLE}karpenter"}
    assert "karpenter" not in asked(**role)
    found = asked(**role, receiver_autoscaling=True)["karpenter"]
    granted = set(re.findall(r'"([a-z0-9]+:\w+)"', (ROOT / "terraform/autoscaler.tf").read_text()))
    assert set(found) <= granted


def test_iot_cores_logs_are_written_with_what_terraform_gives() -> None:
    variables = {"iot_log_level": "ERROR"}
    found = asked(terraform_enabled=True, terraform_variables=variables)["iot-receiver-iot-logging"]
    assert set(found) == set(re.findall(r'"(logs:\w+)"', (ROOT / "terraform/logging.tf").read_text()))


def line(name: str, namespace: str, ts: str, error: str) -> str:
    return json.dumps({"level": "error", "ts": ts, "name": name, "namespace": namespace, "error": error},
                      separators=(",", ":"))  # fmt: skip


def says(events: list[str], *logs: list[str]) -> str:
    return str(variable(
        "receiver", "__receiver_controller_says", receiver_name="iot-receiver", receiver_namespace="apps",
        receiver_ingress_events={"resources": [{"message": message} for message in events]},
        receiver_controller_logs={"results": [{"log_lines": lines} for lines in logs]},
    ))  # fmt: skip


def test_the_controllers_newest_error_about_our_ingress_is_shown_once() -> None:
    leader = [line("iot-receiver", "apps", "2026-01-02T00:00:09Z", "may not CreateListener"), "I0102 no JSON",
              line("iot-receiver", "others", "2026-01-02T00:00:10Z", "of others")]  # fmt: skip
    former = [line("iot-receiver", "apps", "2026-01-01T00:00:00Z", "old"), '{"level":"error","ts":"cut off']
    assert says([], leader, former) == "The controller says: may not CreateListener"
    both = says(["Failed deploy model due to may not CreateListener", "no subnets"], leader, former)
    assert both == "The controller says: no subnets | may not CreateListener"
    assert "does it run?" in says([], [])


def test_what_cannot_be_read_does_not_hide_the_failure() -> None:
    assert "reports nothing" in variable("receiver", "__receiver_controller_says", receiver_name="a",
                                         receiver_namespace="b")  # fmt: skip
