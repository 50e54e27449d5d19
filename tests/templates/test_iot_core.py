"""What the rule selects, and what the fleet's policy allows."""

from typing import Any

import pytest

from tests.templates.render import variable

PLACE = {"infrastructure_partition": "aws", "infrastructure_region": "us-east-2", "infrastructure_account_id": "1"}
TOPIC = "arn:aws:iot:us-east-2:1:topic/"


def allowed(**given: Any) -> list[str]:
    statements = variable("iot_core", "__iot_core_policy", **PLACE, **given)["Statement"]
    return [each["Resource"] for each in statements if each["Action"] == "iot:Publish"]


def test_the_rule_wraps_the_payload_in_an_envelope() -> None:
    sql = variable("iot_core", "__iot_core_sql")
    assert sql[True] == (
        "SELECT encode(*, 'base64') AS iot_payload, timestamp() AS iot_received_at, traceid() AS iot_trace_id, "
        "clientid() AS iot_client_id FROM 'things/telemetry'"
    )
    assert sql[False] == "SELECT * FROM 'things/telemetry'"
    assert variable("iot_core", "__iot_core_sql", iot_topic="a/b")[True].endswith(" FROM 'a/b'")


def test_a_device_may_publish_to_the_topic_alone() -> None:
    assert allowed() == [f"{TOPIC}things/telemetry"]
    assert allowed(iot_topic="a/b") == [f"{TOPIC}a/b"]


def test_with_basic_ingest_a_device_may_publish_to_the_rule_alone() -> None:
    assert allowed(iot_basic_ingest=True) == [f"{TOPIC}$aws/rules/forward_to_alb/things/telemetry"]
    assert allowed(iot_basic_ingest=True, iot_rule_name="mine", iot_topic="a/b") == [f"{TOPIC}$aws/rules/mine/a/b"]
    assert variable("iot_core", "__iot_core_sql", iot_basic_ingest=True)[True].endswith(" FROM 'things/telemetry'")


@pytest.mark.parametrize(
    ("name", "original", "derived"),
    [
        ("iot_topic", "things/telemetry", "plant-2/telemetry"),
        ("iot_policy_name", "iot-thing-policy", "plant-2-thing-policy"),
        ("iot_rule_name", "forward_to_alb", "plant_2_forward_to_alb"),
        ("verify_thing", "iot-verify", "plant-2-verify"),
        ("receiver_image_repository", "iot-receiver", "plant-2"),
        ("deployment_table_name", "iot-readings", "plant-2-readings"),
    ],
)
def test_names_of_an_account_derive_from_the_deployments(name: str, original: str, derived: str) -> None:
    assert variable("deployment_defaults", name) == original
    assert variable("deployment_defaults", name, deployment_name="plant-2") == derived


def test_terraform_trusts_the_service_accounts_that_roles_make() -> None:
    given = {"receiver_namespace": "telemetry", "receiver_service_account": "ingest",
             "load_balancer_controller_namespace": "ingress", "load_balancer_controller_release": "controller",
             "receiver_domain": "d", "aws_account_id": "1", "aws_region": "r"}  # fmt: skip
    stack = variable("terraform", "__terraform_variables", **given)
    names = ("namespace", "service_account", "load_balancer_controller_service_account")
    assert [stack[name] for name in names] == ["telemetry", "ingest", "ingress:controller"]
