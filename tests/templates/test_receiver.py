"""The receiver's objects, as they are sent to Kubernetes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.templates.render import ROLES, render, variable

PLACE: dict[str, Any] = {
    "deployment_name": "iot-receiver",
    "receiver_domain": "ingest.example.org",
    "receiver_image_reference": "123456789012.dkr.ecr.us-east-2.amazonaws.com/iot-receiver:abc",
    "infrastructure_account_id": "123456789012",
    "infrastructure_region": "us-east-2",
    "infrastructure_table_name": "iot-receiver",
    "infrastructure_table_schema": "message_time",
    "infrastructure_certificate_arn": "arn:aws:acm:us-east-2:123456789012:certificate/1",
    "infrastructure_receiver_role_arn": "arn:aws:iam::123456789012:role/receiver",
    "infrastructure_redrive_role_arn": "arn:aws:iam::123456789012:role/redrive",
    "infrastructure_rule_dead_letter_queue_url": "https://sqs.us-east-2.amazonaws.com/123456789012/rule",
    "infrastructure_receiver_dead_letter_queue_url": "https://sqs.us-east-2.amazonaws.com/123456789012/dead",
}


def receiver(template: str, **variables: Any) -> dict[str, Any]:
    """One of the role's objects."""
    return render("receiver", f"{template}.yaml.j2", **(PLACE | variables))


def annotations(**variables: Any) -> dict[str, str]:
    """The Ingress' instructions to the controller, without their common prefix."""
    found = receiver("ingress", **variables)["metadata"]["annotations"]
    return {key.removeprefix("alb.ingress.kubernetes.io/"): value for key, value in found.items()}


TEMPLATES = sorted(path for role in ("receiver", "shared_secret", "dead_letters")
                   for path in ROLES.glob(f"{role}/templates/*.yaml.j2"))  # fmt: skip


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: f"{path.parts[-3]}/{path.name}")
def test_every_object_is_in_the_namespace_asked_for(path: Path) -> None:
    known = {
        "shared_secret_versions": {"values": {"current": "a"}},
        "dead_letters_receiver": {"resources": [receiver("deployment")]},
    }
    document = render(path.parts[-3], path.name, **(PLACE | known), receiver_namespace="elsewhere")
    metadata = document["metadata"]
    place = metadata["name"] if document["kind"] == "Namespace" else metadata["namespace"]
    assert place == "elsewhere"


@pytest.mark.parametrize("autoscaling", [True, False])
@pytest.mark.parametrize("template", ["deployment", "horizontal_pod_autoscaler", "ingress"])
def test_variables_may_be_given_on_the_command_line(template: str, autoscaling: bool) -> None:
    """By `-e receiver_replicas=3`, whose value is a text."""
    given: dict[str, Any] = {
        "receiver_autoscaling": autoscaling, "receiver_autoscaling_max_replicas": 7, "receiver_replicas": 3,
        "receiver_idle_timeout": 90, "receiver_deregistration_delay": 40, "receiver_inbound_ranges": ["10.0.0.0/8"]}
    text = {name: str(value).lower() for name, value in given.items()} | {"receiver_inbound_ranges": "10.0.0.0/8"}
    assert receiver(template, **text) == receiver(template, **given)


def test_ingest_is_a_prefix_since_aws_confirms_with_a_slash() -> None:
    [rule] = receiver("ingress")["spec"]["rules"]
    assert rule["host"] == "ingest.example.org"
    assert {(p["path"], p["pathType"]) for p in rule["http"]["paths"]} == {
        ("/ingest", "Prefix"), ("/metrics", "Exact")}


def test_ingress_listens_for_https_alone() -> None:
    assert json.loads(annotations()["listen-ports"]) == [{"HTTPS": 443}]
    assert annotations()["certificate-arn"] == PLACE["infrastructure_certificate_arn"]
    assert "TLS13-1-2" in annotations()["ssl-policy"]


def test_health_checks_and_scrapes_do_not_wait_among_messages() -> None:
    [container] = receiver("deployment")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["health"] != ports["http"]
    assert environment()["RECEIVER_HEALTH_PORT"] == annotations()["healthcheck-port"] == str(ports["health"])
    assert {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "readiness", "liveness")} == {"health"}
    served = {port["targetPort"]: port["port"] for port in receiver("service")["spec"]["ports"]}
    assert served == {"http": 80, "health": ports["health"]}
    [admitted] = receiver("network_policy")["spec"]["ingress"]
    assert {port["port"] for port in admitted["ports"]} == set(ports)


def test_callers_addresses_are_appended() -> None:
    assert "routing.http.xff_header_processing.mode=append" in annotations()["load-balancer-attributes"].split(",")


def test_inbound_ranges_are_said_only_where_there_are_some() -> None:
    assert "inbound-cidrs" not in annotations()
    some = annotations(receiver_inbound_ranges=["192.0.2.0/24", "198.51.100.0/24"])
    assert some["inbound-cidrs"] == "192.0.2.0/24,198.51.100.0/24"


def environment(**variables: Any) -> dict[str, str]:
    """The container's variables."""
    [container] = receiver("deployment", **variables)["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def test_environment_is_text_throughout() -> None:
    assert all(isinstance(value, str) for value in environment().values())
    assert environment()["RECEIVER_RULE_ADDS_METADATA"] == "true"
    assert environment(iot_rule_adds_metadata=False)["RECEIVER_RULE_ADDS_METADATA"] == "false"


def test_connections_outlast_the_load_balancers() -> None:
    keepalive = int(environment(receiver_idle_timeout=120)["RECEIVER_KEEPALIVE_SECONDS"])
    assert keepalive > 120
    assert "idle_timeout.timeout_seconds=120" in annotations(receiver_idle_timeout=120)["load-balancer-attributes"]


def test_a_pod_outlives_its_deregistration() -> None:
    pod = receiver("deployment", receiver_deregistration_delay=90)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > 90
    assert environment(receiver_deregistration_delay=90)["RECEIVER_DEREGISTRATION_DELAY_SECONDS"] == "90"
    assert annotations(receiver_deregistration_delay=90)["target-group-attributes"] == (
        "deregistration_delay.timeout_seconds=90")


def test_pod_is_restricted() -> None:
    pod = receiver("deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert "cpu" not in container["resources"]["limits"]


def test_autoscaler_owns_the_number_of_pods_where_there_is_one() -> None:
    assert receiver("deployment")["spec"]["replicas"] == 2
    assert "replicas" not in receiver("deployment", receiver_autoscaling=True)["spec"]
    assert receiver("horizontal_pod_autoscaler", receiver_replicas=1)["spec"]["minReplicas"] == 2


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 300),
        ({"receiver_replicas": 1}, 300),
        ({"receiver_replicas": "12"}, 900),
        ({"receiver_replicas": 2, "receiver_autoscaling": True, "receiver_autoscaling_max_replicas": 22}, 1500),
        ({"receiver_replicas": 3, "receiver_rollout_timeout": 20}, 80),
    ],
)
def test_a_rollout_has_time_for_each_pod(given: dict[str, Any], seconds: int) -> None:
    assert int(variable("receiver", "__receiver_rollout_seconds", **given)) == seconds
