"""What shows readings, as it is sent to Kubernetes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.templates.render import ROLES, render
from tests.templates.test_receiver import PLACE


def readings(template: str, **variables: Any) -> dict[str, Any]:
    """One of the role's objects."""
    role = {"infrastructure_readings_role_arn": "arn:aws:iam::123456789012:role/readings"}
    return render("readings", f"{template}.yaml.j2", **(PLACE | role | variables))


def environment(**variables: Any) -> dict[str, str]:
    """The environment of the pod's container."""
    [container] = readings("deployment", **variables)["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


@pytest.mark.parametrize("path", sorted(ROLES.glob("readings/templates/*.yaml.j2")), ids=lambda path: path.name)
def test_every_object_is_in_the_receivers_namespace_and_is_the_deployments(path: Path) -> None:
    metadata = readings(path.name.removesuffix(".yaml.j2"), receiver_namespace="elsewhere")["metadata"]
    assert metadata["namespace"] == "elsewhere"
    assert metadata["labels"]["app.kubernetes.io/part-of"] == "iot-receiver"


def test_it_is_reached_from_inside_alone() -> None:
    service = readings("service")["spec"]
    policy = readings("network_policy")["spec"]
    assert service["type"] == "ClusterIP"
    assert policy["podSelector"]["matchLabels"] == service["selector"]
    [rule] = policy["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


def test_its_pod_has_an_identity_of_its_own_and_is_restricted() -> None:
    pod = readings("deployment")["spec"]["template"]["spec"]
    account = readings("service_account")["metadata"]
    [container] = pod["containers"]
    assert pod["serviceAccountName"] == account["name"] == "iot-receiver-readings"
    assert account["annotations"]["eks.amazonaws.com/role-arn"] == "arn:aws:iam::123456789012:role/readings"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["image"] == PLACE["receiver_image_reference"]
    assert container["command"][1:] == ["-m", "iot_readings"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert "volumes" not in pod


def test_it_shows_the_deployments_table_and_measurements() -> None:
    declared = {"hum": {"attribute": "humidity", "unit": "%"}}
    told = environment(measurements=declared, receiver_namespace="telemetry", readings_live_rate="20")
    assert told["READINGS_TABLE_NAME"] == PLACE["infrastructure_table_name"]
    assert json.loads(told["READINGS_MEASUREMENTS"]) == declared
    assert told["READINGS_RECEIVER_METRICS_URL"] == "http://iot-receiver.telemetry/metrics"
    assert told["READINGS_HIDDEN_THINGS"] == "iot-verify"
    assert told["READINGS_LIVE_QUERIES_PER_SECOND"] == "20"


def test_the_alert_names_the_worst_devices() -> None:
    [group] = readings("prometheus_rule")["spec"]["groups"]
    [alert] = group["rules"]
    assert 'iot_fleet_devices{namespace="apps",job="iot-readings",state="quiet"} > 0' in alert["expr"]
    assert '{{ range query "sort_desc(iot_fleet_quiet_seconds)" }}' in alert["annotations"]["description"]
    assert alert["annotations"]["summary"] == "{{ $value }} devices are silent for longer than usual"
