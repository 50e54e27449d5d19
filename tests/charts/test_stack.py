"""The monitoring chart with its role's values outside the sandbox, where Grafana is installed."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.conftest import KEPT
from tests.support.paths import PROGRAMS, ROOT

CHART = KEPT / "kube-prometheus-stack-88.5.3.tgz"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    """The chart's rendered objects, by kind and name."""
    if not CHART.exists() or not (PROGRAMS / "helm").exists():
        pytest.skip("the monitoring chart is not on this machine: `make sandbox` fetches it")
    values = tmp_path_factory.mktemp("stack") / "values.json"
    environment = os.environ | {"PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"}
    subprocess.run(["ansible-playbook", "-i", "localhost,", "tests/charts/values.yml", "-e", f"file={values}"],
                   cwd=ROOT, env=environment, capture_output=True, check=True)
    made = subprocess.run([PROGRAMS / "helm", "template", "prometheus", CHART, "--namespace=monitoring", "-f", values],
                          text=True, capture_output=True, check=True).stdout
    return {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(made) if each}


def environment(objects: dict[tuple[str, str], Any], container: str) -> dict[str, Any]:
    """The environment of one of Grafana's containers."""
    pod = objects["Deployment", "prometheus-grafana"]["spec"]["template"]["spec"]
    [found] = [each for each in pod["containers"] if each["name"] == container]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in found["env"]}


def test_grafanas_password_is_in_the_roles_secret_alone(objects: dict[tuple[str, str], Any]) -> None:
    given = environment(objects, "grafana")["GF_SECURITY_ADMIN_PASSWORD"]
    assert given == {"secretKeyRef": {"name": "prometheus-grafana-admin", "key": "admin-password"}}
    secrets = [each for (kind, _), each in objects.items() if kind == "Secret"]
    assert not [each for each in secrets if "admin-password" in json.dumps(each)]


def test_grafana_finds_our_dashboards_in_any_namespace_and_its_source(objects: dict[tuple[str, str], Any]) -> None:
    sidecar = environment(objects, "grafana-sc-dashboard")
    assert (sidecar["LABEL"], sidecar["LABEL_VALUE"], sidecar["NAMESPACE"]) == ("grafana_dashboard", "1", "ALL")
    template = Path(ROOT / "roles/receiver/templates/monitoring/dashboard.yaml.j2").read_text()
    assert "grafana_dashboard" in template
    assert sidecar["FOLDER_ANNOTATION"] in template
    config = objects["ConfigMap", "prometheus-kube-prometheus-grafana-datasource"]
    assert config["metadata"]["labels"]["grafana_datasource"] == "1"
    sources = {each["name"]: each for each in yaml.safe_load(config["data"]["datasource.yaml"])["datasources"]}
    assert sources["Prometheus"]["isDefault"]
    assert sources["Prometheus"]["url"].startswith("http://prometheus-kube-prometheus-prometheus.monitoring:9090")


def test_monitors_and_rules_are_found_whatever_their_labels(objects: dict[tuple[str, str], Any]) -> None:
    spec = objects["Prometheus", "prometheus-kube-prometheus-prometheus"]["spec"]
    for kind in ("serviceMonitor", "podMonitor", "probe", "rule", "scrapeConfig"):
        assert spec[f"{kind}Selector"] == {}
        assert spec[f"{kind}NamespaceSelector"] == {}


def test_what_eks_lets_nobody_scrape_is_left_alone(objects: dict[tuple[str, str], Any]) -> None:
    monitors = {name for kind, name in objects if kind == "ServiceMonitor"}
    for part in ("controller-manager", "etcd", "scheduler", "proxy"):
        assert not [name for name in monitors if part in name]
    rules = " ".join(name for kind, name in objects if kind == "PrometheusRule")
    assert "etcd" not in rules
    assert {"prometheus-kube-state-metrics", "prometheus-prometheus-node-exporter"} <= monitors
