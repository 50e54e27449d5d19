"""What shows readings, as it is sent to Kubernetes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.templates.render import ROLES, render, variable
from tests.templates.test_receiver import PLACE

LOGIN = {
    "domain": "readings.example.org", "certificate_arn": "arn:aws:acm:us-east-2:123456789012:certificate/x",
    "issuer": "https://login.example.org", "authorization_endpoint": "https://login.example.org/authorize",
    "token_endpoint": "https://login.example.org/token", "user_info_endpoint": "https://login.example.org/me",
    "secret_name": "readings-login",
}  # fmt: skip


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
    template = path.name.removesuffix(".yaml.j2")
    metadata = readings(template, receiver_namespace="elsewhere", readings_login=LOGIN)["metadata"]
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
    assert told["READINGS_RECEIVER_METRICS_URL"] == "http://iot-receiver.telemetry:8081/metrics"
    assert variable("receiver", "__receiver_health_port") == 8081
    assert told["READINGS_HIDDEN_THINGS"] == "iot-verify"
    assert told["READINGS_LIVE_QUERIES_PER_SECOND"] == "20"


def test_the_alert_names_the_worst_devices() -> None:
    [group] = readings("prometheus_rule")["spec"]["groups"]
    [alert] = group["rules"]
    assert 'iot_fleet_devices{namespace="apps",job="iot-readings",state="quiet"} > 0' in alert["expr"]
    asked = '{{ range query `sort_desc(iot_fleet_quiet_seconds{namespace="apps",job="iot-readings"})` }}'
    assert asked in alert["annotations"]["description"]
    assert alert["annotations"]["summary"] == "{{ $value }} devices are silent for longer than usual"


def test_a_login_is_off_by_default() -> None:
    assert variable("readings", "readings_login") == {}
    assert len(readings("network_policy")["spec"]["ingress"]) == 1


def test_with_a_login_nobody_passes_the_load_balancer_without_it() -> None:
    ingress = readings("ingress", readings_login=LOGIN)
    told = {name.rpartition("/")[2]: value for name, value in ingress["metadata"]["annotations"].items()}
    assert (told["auth-type"], told["auth-on-unauthenticated-request"]) == ("oidc", "authenticate")
    assert json.loads(told["listen-ports"]) == [{"HTTPS": 443}]
    assert json.loads(told["auth-idp-oidc"]) == {
        "issuer": LOGIN["issuer"], "authorizationEndpoint": LOGIN["authorization_endpoint"],
        "tokenEndpoint": LOGIN["token_endpoint"], "userInfoEndpoint": LOGIN["user_info_endpoint"],
        "secretName": LOGIN["secret_name"],
    }  # fmt: skip
    assert told["certificate-arn"] == LOGIN["certificate_arn"]
    [rule] = ingress["spec"]["rules"]
    assert rule["host"] == "readings.example.org"
    [path] = rule["http"]["paths"]
    assert path["backend"]["service"]["name"] == readings("service")["metadata"]["name"]


def test_with_a_login_the_load_balancer_alone_reaches_the_pod_from_outside() -> None:
    policy = readings("network_policy", readings_login=LOGIN, readings_login_networks=["10.0.0.0/24", "10.0.1.0/24"])
    ranges = [peer["ipBlock"]["cidr"] for peer in policy["spec"]["ingress"][1]["from"]]
    assert ranges == ["10.0.0.0/24", "10.0.1.0/24"]


def test_the_controller_may_read_the_logins_secret_and_no_other() -> None:
    [rule] = readings("login_role", readings_login=LOGIN)["rules"]
    assert (rule["resources"], rule["resourceNames"]) == (["secrets"], ["readings-login"])
    binding = readings("login_role_binding", readings_login=LOGIN)
    [subject] = binding["subjects"]
    assert (subject["namespace"], subject["name"]) == ("kube-system", "aws-load-balancer-controller")
    assert binding["roleRef"]["name"] == readings("login_role", readings_login=LOGIN)["metadata"]["name"]


def test_alerts_of_ones_own_are_added() -> None:
    own = {"alert": "FreezerWarm", "expr": 'iot_reading_temperature{deviceId="freezer-1"} > -15', "for": "10m"}
    *_, group = readings("prometheus_rule", readings_alert_rules=[own])["spec"]["groups"]
    assert group["rules"] == [own]


def dashboard(**variables: Any) -> dict[str, Any]:
    """The dashboard, as Grafana reads it."""
    found = readings("dashboard", **variables)
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    [text] = found["data"].values()
    told: dict[str, Any] = json.loads(text)
    return told


def test_two_deployments_have_a_dashboard_each() -> None:
    two = [readings("dashboard"), readings("dashboard", deployment_name="staging")]
    assert not set(two[0]["data"]) & set(two[1]["data"]), "the sidecar writes them into one folder"
    assert {dashboard(deployment_name="staging")[key] == dashboard()[key] for key in ("uid", "title")} == {False}


def test_the_dashboard_chooses_devices_and_names_them_in_every_query_for_readings() -> None:
    device = dashboard()["templating"]["list"][1]
    asked_of = 'query_result(iot_registered_device{deployment="iot-receiver"})'
    assert (device["name"], device["query"]["query"], device["definition"]) == ("device", asked_of, asked_of)
    asked = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    of_readings = [expression for expression in asked if "iot_reading_" in expression]
    assert len(of_readings) == 2
    assert all('{deployment="iot-receiver",deviceId=~"$device"}' in expression for expression in of_readings)
    assert not any("iot_reading" not in each and 'namespace="apps",job="iot-readings"' not in each for each in asked)


def test_the_dashboard_has_panels_for_each_measurement_with_its_unit() -> None:
    temperature = {"attribute": "temperature", "unit": "°C"}
    declared = {"temp": temperature, "hum": {"type": "integer"}, "mode": {"type": "string"}}
    panels = dashboard(measurements=declared, receiver_namespace="elsewhere")["panels"]
    assert [panel["title"] for panel in panels[-4:]] == [
        "temperature", "temperature, newest", "hum", "hum, newest"]  # fmt: skip
    assert panels[-1]["targets"][0]["expr"] == (
        'last_over_time(iot_reading_hum{deployment="iot-receiver",deviceId=~"$device"}[$__range])')
    assert [panel["fieldConfig"]["defaults"]["unit"] for panel in panels[-3:-1]] == ["suffix: °C", "none"]
    assert panels[-1]["gridPos"]["y"] == panels[-3]["gridPos"]["y"] + panels[-3]["gridPos"]["h"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert 'namespace=\\"apps\\"' not in json.dumps(panels)


def remote_read(**variables: Any) -> list[dict[str, Any]]:
    """What the chart is given for Prometheus' remote read."""
    values = variable("kube_prometheus_stack", "__kube_prometheus_stack_values", **variables)
    found: list[dict[str, Any]] = values["prometheus"]["prometheusSpec"]["remoteRead"]
    return found


def test_prometheus_asks_the_readings_service_for_its_own_metrics_alone() -> None:
    declared = {"temp": {"attribute": "temperature"}, "mode": {"type": "string"}, "n": {"type": "integer"}}
    asked = remote_read(measurements=declared, receiver_namespace="telemetry")
    assert [each["requiredMatchers"] for each in asked] == [
        {"__name__": name} for name in ("iot_registered_device", "iot_reading_temperature", "iot_reading_n")]
    assert {each["url"] for each in asked} == {"http://iot-readings.telemetry.svc/api/v1/read"}
    assert all(each["readRecent"] and not each["filterExternalLabels"] for each in asked)
    assert len({each["name"] for each in asked}) == len(asked)
    assert remote_read(readings_enabled=False) == []


def test_two_deployments_of_a_cluster_see_their_own_readings() -> None:
    """The second one's dashboard asks for its own, which the first one's Prometheus reads from its service."""
    text = json.dumps(dashboard(deployment_name="staging", receiver_namespace="elsewhere"))
    assert "iot-receiver\\\"" not in text
    assert text.count('deployment=\\"staging\\"') == 4
    asked = remote_read(kube_prometheus_stack_readings={"staging": "elsewhere"})
    assert [(each["url"], each["requiredMatchers"]) for each in asked if each not in remote_read()] == [
        ("http://iot-readings.elsewhere.svc/api/v1/read", {"deployment": "staging"})
    ]
    assert len({each["name"] for each in asked}) == len(asked)
    for namespace, is_read in (("elsewhere", True), ("staging", False)):  # by one Prometheus of two
        found = {"resources": [{"spec": {}}, {"spec": {"remoteRead": asked}}]}
        variables = {"kube_prometheus_stack_prometheuses": found, "receiver_namespace": namespace}
        assert variable("kube_prometheus_stack", "__kube_prometheus_stack_readings_read", **variables) is is_read
