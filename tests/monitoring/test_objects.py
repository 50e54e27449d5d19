"""ServiceMonitor, alerts and dashboards: complete, and about metrics that there are."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from tests.monitoring.objects import DASHBOARDS, alerts, assert_side_by_side, dashboard, render, rules
from tests.support.paths import ROOT

SCHEMA = json.loads(Path(__file__).with_name("dashboard.schema.json").read_text())


def panels() -> list[tuple[str, dict[str, Any]]]:
    """All panels of all dashboards."""
    return [(name, panel) for name in DASHBOARDS for panel in dashboard(name)["panels"]]


def expressions() -> list[str]:
    """Everything that is asked of Prometheus."""
    asked = [rule["expr"] for group in rules() for rule in group["rules"]]
    return asked + [target["expr"] for _, panel in panels() for target in panel["targets"]]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboard_is_one(name: str) -> None:
    found = dashboard(name)
    jsonschema.validate(found, SCHEMA)
    assert len({panel["id"] for panel in found["panels"]}) == len(found["panels"])
    assert len({panel["title"] for panel in found["panels"]}) == len(found["panels"])


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_lie_side_by_side(name: str) -> None:
    assert_side_by_side(dashboard(name)["panels"])


def test_thresholds_rise() -> None:
    for name, panel in panels():
        first, *others = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert first["value"] is None
        values = [step["value"] for step in others]
        assert values == sorted(set(values)), (name, panel["title"])


def test_dashboards_and_alerts_ask_for_metrics_that_there_are() -> None:
    """By the names in the receiver's source, and by those that are recorded."""
    source = (ROOT / "service/iot_receiver/exposition.py").read_text()
    quoted = set(re.findall(r'"([a-z_]+)"', source)) | set(re.findall(r"iot_receiver_([a-z_]+)", source))
    recorded = {rule["record"] for group in rules() for rule in group["rules"] if "record" in rule}
    for expression in expressions():
        for name in re.findall(r"iot_receiver_[a-z_]+", expression):
            bare = re.sub(r"_(total|bucket|sum|count)$", "", name.removeprefix("iot_receiver_"))
            assert {bare, f"{bare}_total"} & quoted, f"{name} in {expression}"
        for name in re.findall(r"iot_receiver:[a-z0-9_:]+", expression):
            assert name in recorded, f"{name} in {expression}"


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    runbook = (ROOT / "docs/alerts.md").read_text()
    for alert in alerts(receiver_runbook_url="https://example.org/alerts"):
        assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["annotations"]["runbook_url"] == f"https://example.org/alerts#{alert['alert'].lower()}"
        [paragraph] = re.findall(rf"^## {alert['alert']}\n\n(.*?)(?=\n## |\Z)", runbook, re.MULTILINE | re.DOTALL)
        assert all(part in paragraph for part in ("**Means**", "**Look**", "**Do**"))
    described = set(re.findall(r"^## (\w+)$", runbook, re.MULTILINE))
    of_readings = re.findall(r"alert: (\w+)", (ROOT / "roles/readings/templates/prometheus_rule.yaml.j2").read_text())
    assert described == {alert["alert"] for alert in alerts()} | set(of_readings)


def test_an_alert_without_a_runbook_url_names_the_document() -> None:
    for alert in alerts():
        assert set(alert["annotations"]) == {"summary", "description"}
        assert alert["annotations"]["description"].endswith(f"What to do: {alert['alert']} in docs/alerts.md.")


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboards_file_is_what_the_defaults_make(name: str) -> None:
    """So it can be imported by hand, too."""
    file = json.loads((ROOT / f"roles/receiver/files/dashboards/{name}.json").read_text())
    jsonschema.validate(file, SCHEMA)
    assert dashboard(name) == file


def test_a_dashboard_has_the_deployments_namespace_and_limits() -> None:
    found = dashboard("receiver", receiver_namespace="elsewhere", receiver_memory_limit="1Gi")
    assert 'namespace=\\"apps\\"' not in json.dumps(found)
    [memory] = [panel for panel in found["panels"] if panel["title"] == "Memory"]
    steps = memory["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert [step["value"] for step in steps] == [None, 858993459, 2**30]


def test_only_this_deployments_receivers_are_meant() -> None:
    for expression in expressions():
        for labels in re.findall(r"\biot_receiver_[a-z_]+(?:\{([^}]*)\})?", expression):
            assert 'namespace="apps",job="iot-receiver"' in labels, expression
        for labels in re.findall(r"\biot_receiver:[\w:]+(?:\{([^}]*)\})?", expression):
            assert 'namespace="apps"' in labels, expression
    elsewhere = [rule["expr"] for group in rules(receiver_namespace="elsewhere") for rule in group["rules"]]
    assert not [expression for expression in elsewhere if 'namespace="apps"' in expression]


def test_two_deployments_share_prometheus_and_grafana() -> None:
    """Neither records a series, fires an alert or shows a dashboard under the other's identity."""
    two = [{}, {"deployment_name": "staging"}]
    recorded, fired = [], []
    for own in two:
        every = [rule for group in rules(**own) for rule in group["rules"]]
        recorded.append({(rule["record"], json.dumps(rule["labels"])) for rule in every if "record" in rule})
        fired.append({(rule["alert"], json.dumps(rule["labels"])) for rule in every if "alert" in rule})
    assert not recorded[0] & recorded[1]
    assert not fired[0] & fired[1]
    for name in DASHBOARDS:
        for identity in ("uid", "title"):
            assert len({dashboard(name, **own)[identity] for own in two}) == 2
        files = [set(render("dashboard", receiver_dashboard=name, **own)["data"]) for own in two]
        assert not files[0] & files[1]
        assert len(dashboard(name, deployment_name="n" * 32)["uid"]) <= 40, "Grafana's limit"


def test_every_pod_of_the_service_is_scraped_as_openmetrics() -> None:
    spec = render("service_monitor", receiver_namespace="elsewhere", receiver_scrape_interval=3)["spec"]
    assert spec["namespaceSelector"] == {"matchNames": ["elsewhere"]}
    assert spec["selector"] == {"matchLabels": {"app.kubernetes.io/name": "iot-receiver"}}
    assert spec["scrapeProtocols"][0] == "OpenMetricsText1.0.0"
    [endpoint] = spec["endpoints"]
    assert (endpoint["port"], endpoint["path"], endpoint["interval"], endpoint["scrapeTimeout"]) == (
        "health", "/metrics", "3s", "3s")


def test_wanted_receivers_are_those_of_the_variables() -> None:
    def missing(**variables: Any) -> str:
        [found] = [alert["expr"] for alert in alerts(**variables) if alert["alert"] == "IotReceiverMissing"]
        return str(found)

    assert "< 3 " in missing(receiver_replicas=3)
    assert "< 2 " in missing(receiver_replicas=1, receiver_autoscaling=True)
    assert "< 1 " in missing(receiver_replicas=1)


@pytest.mark.parametrize("autoscaling", [False, True])
def test_variables_may_be_given_on_the_command_line(autoscaling: bool) -> None:
    given = {"receiver_replicas": 3, "receiver_autoscaling": autoscaling, "receiver_objective": 0.99,
             "receiver_alert_silence_minutes": 5, "receiver_alert_old_secret_minutes": 30,
             "receiver_alert_rejected_share": 0.1, "receiver_alert_write_seconds": 0.5, "receiver_scrape_interval": 10}
    text = {name: str(value).lower() for name, value in given.items()}
    for template in ("prometheus_rule", "service_monitor"):
        assert render(template, **text) == render(template, **given)
    for name in DASHBOARDS:
        assert dashboard(name, **text) == dashboard(name, **given)


def test_one_receiver_is_enough_where_one_is_wanted() -> None:
    [panel] = [panel for panel in dashboard("overview", receiver_replicas=1)["panels"] if panel["title"] == "Receivers"]
    colors = [step["color"] for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]
    assert colors == ["red", "green"]
