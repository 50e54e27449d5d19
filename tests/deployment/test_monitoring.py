"""Prometheus finds the receivers, alerts fire in time, and every panel has data."""

import functools
import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.deployment.conftest import DOMAIN, Kubectl, needs_chart
from tests.support.paths import CACHE, ROOT, STATE
from tests.support.waiting import until

PROMTOOL = CACHE / "bin/monitoring/promtool"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
PARSE = """
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
print(sum(len(family.samples) for family in parse(sys.stdin.read())))
"""
RECEIVERS = 'namespace="apps",job="iot-receiver"'
# Watchdog always fires, to show that alerts get through. The receiver's own have their cause in other tests.
EXPECTED = {"Watchdog", "InfoInhibitor"}

monitored = needs_chart("kube-prometheus-stack", "monitoring")
Ask = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def service(kubectl: Kubectl) -> Callable[[str, int], str]:
    """The address of a service of namespace monitoring."""

    def address(name: str, port: int) -> str:
        found = kubectl("get", "service", name, "-n", "monitoring")
        return f"http://{found['spec']['clusterIP']}:{port}"

    return address


@pytest.fixture(scope="module")
def ask(service: Callable[[str, int], str]) -> Ask:
    """Asks Prometheus, and returns the samples."""
    url = f"{service('prometheus-kube-prometheus-prometheus', 9090)}/api/v1/query"

    def query(expression: str) -> list[dict[str, Any]]:
        answer = requests.post(url, data={"query": expression}, timeout=10).json()
        assert answer["status"] == "success", (expression, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    return query


@pytest.fixture(scope="module")
def pods(kubectl: Kubectl) -> dict[str, str]:
    """The receivers' addresses by their names."""
    return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in kubectl.receivers()}


@monitored
def test_every_receiver_is_scraped(ask: Ask, pods: dict[str, str]) -> None:
    def reached() -> bool:
        return {each["metric"]["pod"] for each in ask(f"up{{{RECEIVERS}}} == 1")} == set(pods)

    until(reached, 60, f"up of {sorted(pods)}", every=1)


@monitored
def test_every_target_is_up(ask: Ask) -> None:
    until(lambda: not ask("up == 0"), 30, "targets that are down", every=1)


@monitored
def test_a_healthy_cluster_alerts_nobody(ask: Ask) -> None:
    firing = {each["metric"]["alertname"] for each in ask('ALERTS{alertstate="firing"}')}
    ours = {name for name in firing if name.startswith(("IotReceiver", "IotD"))}
    assert "Watchdog" in firing
    assert firing - ours <= EXPECTED


def dashboards(kubectl: Kubectl) -> Iterator[tuple[str, dict[str, Any]]]:
    """The panels of all dashboards, as Grafana's sidecar would find them."""
    for config in kubectl("get", "configmaps", "-n", "apps", "-l", "grafana_dashboard=1")["items"]:
        [text] = config["data"].values()
        for panel in json.loads(text)["panels"]:
            yield f"{config['metadata']['name']}: {panel['title']}", panel


@monitored
def test_every_panel_shows_something(kubectl: Kubectl, ask: Ask) -> None:
    variables = {"$device": "edge-1", "$__range": "1h"}
    queries = [
        (name, functools.reduce(lambda text, each: text.replace(*each), variables.items(), str(target["expr"])))
        for name, panel in dashboards(kubectl) for target in panel["targets"]
        if "iot_fleet_quiet_seconds" not in target["expr"]  # no series while no device is quiet
    ]
    assert len(queries) > 25

    def empty() -> list[tuple[str, str]]:
        return [query for query in queries if not any(each["value"][1] != "NaN" for each in ask(query[1]))]

    until(lambda: not empty(), 60, f"data for {empty()}", every=1)


@pytest.mark.skipif(not PROMTOOL.exists(), reason="promtool is not built: it comes with monitoring's chart")
def test_promtool_finds_nothing_to_say_about_the_metrics(pods: dict[str, str]) -> None:
    for address in pods.values():
        text = requests.get(f"http://{address}:8080/metrics", timeout=5).text
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_prometheus_own_client_reads_the_openmetrics(pods: dict[str, str]) -> None:
    python = ROOT / "build/venv/service-test/bin/python"
    for address in pods.values():
        answer = requests.get(f"http://{address}:8080/metrics", headers={"Accept": OPENMETRICS}, timeout=5)
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        done = subprocess.run([python, "-c", PARSE], input=answer.text, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) > 40


@monitored
def test_an_alert_reaches_alertmanager_within_two_minutes(
    service: Callable[[str, int], str], secret: str, aws: Callable[[str], Any]
) -> None:
    device = f"alert-{uuid.uuid4().hex[:8]}"
    started = time.monotonic()
    answer = requests.post(
        f"https://{DOMAIN}/ingest", json=[{"deviceId": device}], headers={"X-Iot-Secret": secret},
        verify=str(STATE / "ca/bundle.crt"), timeout=5)
    assert answer.json()["rejected"] == 1
    url = f"{service('prometheus-kube-prometheus-alertmanager', 9093)}/api/v2/alerts"

    def told() -> bool:
        found = requests.get(url, params={"filter": 'alertname="IotDeadLetters"'}, timeout=5).json()
        return any(alert["status"]["state"] == "active" for alert in found)

    until(told, 120, "IotDeadLetters in Alertmanager", every=1)
    assert time.monotonic() - started < 120
    sqs = aws("sqs")
    queue = sqs.get_queue_url(QueueName="iot-receiver-receiver-dead-letters")["QueueUrl"]
    for letter in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        if device in letter["Body"]:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=letter["ReceiptHandle"])
