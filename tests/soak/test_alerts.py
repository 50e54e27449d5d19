"""Each alert reaches Alertmanager in time for its real cause; none does in ten minutes of healthy load."""

import base64
import json
import secrets
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.deployment.conftest import DOMAIN, Kubectl, Playbook, needs_chart
from tests.deployment.faulty_dynamodb import faulty_dynamodb
from tests.deployment.telemetry import telemetry
from tests.support.paths import STATE

Aws = Callable[[str], Any]
SITE = ("site.yml", "--tags", "receiver")
IMPATIENT = {"receiver_alert_old_secret_minutes": 1, "receiver_alert_silence_minutes": 1}
IN_TIME = 120  # seconds from the cause to Alertmanager
ALWAYS = {"Watchdog", "InfoInhibitor"}
DEPLOYMENT = ("deployment", "iot-receiver", "-n", "apps")
PODS = ("prometheus-prometheus-kube-prometheus-prometheus-0", "alertmanager-prometheus-kube-prometheus-alertmanager-0")
HOSTS = ("10.213.0.21", "10.213.0.22")

pytestmark = needs_chart("kube-prometheus-stack", "monitoring")


class Monitoring:
    """Prometheus and Alertmanager, as a person would ask them."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._caused: set[str] = set()
        self._prometheus = self._address("prometheus-kube-prometheus-prometheus", 9090)
        self._alertmanager = self._address("prometheus-kube-prometheus-alertmanager", 9093)

    def _address(self, name: str, port: int) -> str:
        found = self._kubectl("get", "service", name, "-n", "monitoring")
        return f"http://{found['spec']['clusterIP']}:{port}"

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """A query's samples."""
        answer = requests.post(f"{self._prometheus}/api/v1/query", data={"query": expression}, timeout=10).json()
        assert answer["status"] == "success", answer
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def active(self) -> set[str]:
        """The alerts that Alertmanager holds as active."""
        found = requests.get(f"{self._alertmanager}/api/v2/alerts", timeout=10).json()
        return {alert["labels"]["alertname"] for alert in found}

    def told(self) -> set[str]:
        """The same, without those that fire on a healthy cluster."""
        return self.active() - ALWAYS

    def forget(self) -> None:
        """Restart both with empty storage: what is on a node is lost with its pod."""
        self._kubectl.text("delete", "pod", *PODS, "-n", "monitoring", "--wait", limit=120)
        self.until(lambda: len(self.ask('up{namespace="apps",job="iot-receiver"} == 1')) == 2, 120, "a new Prometheus")
        self.until(lambda: "Watchdog" in self.active(), 120, "the alert that always fires")
        assert self.told() == set()
        self._caused.clear()

    def until(self, holds: Callable[[], Any], seconds: float, what: str) -> float:
        """Wait until something holds; return how long that took."""
        started = time.monotonic()
        while True:
            try:
                if holds():
                    return time.monotonic() - started
            except requests.RequestException:
                pass
            assert time.monotonic() - started < seconds, f"not after {seconds} s: {what}; told: {self.told()}"
            time.sleep(1)

    def tells(self, *alerts: str, besides: tuple[str, ...] = ()) -> None:
        """These fire in time, and no others but those allowed and those that fired before."""
        started, missing = time.monotonic(), set(alerts)
        self._caused |= {*alerts, *besides}
        while missing:
            for alert in missing & self.told():
                missing.discard(alert)
                print(f"{alert}: told after {time.monotonic() - started:.0f} s")
            assert time.monotonic() - started < IN_TIME, f"not told: {missing}; {self.ask('ALERTS')}"
            time.sleep(1)
        assert self.told() <= self._caused


@pytest.fixture(scope="module")
def monitoring(kubectl: Kubectl, playbook: Playbook) -> Iterator[Monitoring]:
    """Monitoring without alerts and history, before and afterwards."""
    found = Monitoring(kubectl)

    def without_a_past() -> None:
        assert playbook("playbooks/redrive.yml").status == 0  # dead letters keep their alert firing
        found.until(lambda: not found.ask("iot_receiver_dead_letters > 0"), 120, "empty dead-letter queues")
        found.forget()

    without_a_past()
    yield found
    without_a_past()


@pytest.fixture(scope="module")
def impatient(playbook: Playbook) -> Iterator[None]:
    """Set the role's waiting times of alerts to their minimum."""
    try:
        assert playbook(*SITE, "-e", json.dumps(IMPATIENT)).status == 0
        yield
    finally:
        assert playbook(*SITE).status == 0


class Traffic:
    """Requests of one kind at a steady rate, each with several messages, until the block ends."""

    def __init__(self, secret: str, messages: Callable[[], Any], rate: float = 5) -> None:
        self._secret, self._messages, self._rate = secret, messages, rate
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(4)]

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        with requests.Session() as session:
            while not self._stop.wait(len(self._threads) / self._rate):
                answer = send(session, self._secret, self._messages())
                assert answer.status_code in {200, 403, 422, 503}, answer


def send(session: requests.Session, secret: str, messages: Any) -> requests.Response:
    """One request at the domain, as IoT Core would send it."""
    return session.post(f"https://{DOMAIN}/ingest", json=messages, headers={"X-Iot-Secret": secret},
                        verify=str(STATE / "ca/bundle.crt"), timeout=10)


def readings() -> list[dict[str, Any]]:
    """Four readings."""
    now = int(time.time() * 1000)
    return [{"deviceId": "alerts", "temp": 20, "ts": now, "messageId": uuid.uuid4().hex, "iot_received_at": now,
             "iot_trace_id": uuid.uuid4().hex, "iot_client_id": "alerts"} for _ in range(4)]


def no_reading() -> dict[str, Any]:
    """A single invalid message, which is answered with 422."""
    return {"deviceId": "alerts", "temp": "warm"}


@contextmanager
def replaced(kubectl: Kubectl) -> Iterator[str]:
    """A replaced secret that is still accepted."""
    old = secrets.token_urlsafe(32)
    patch = json.dumps({"data": {"previous": base64.b64encode(old.encode()).decode()}})
    kubectl.text("patch", "secret", "iot-receiver", "-n", "apps", "--type=merge", "-p", patch)
    try:
        yield old
    finally:
        patch = json.dumps({"data": {"previous": None}})
        kubectl.text("patch", "secret", "iot-receiver", "-n", "apps", "--type=merge", "-p", patch)


def hosts(command: str) -> None:
    """Start or stop the edge hosts' publishers."""
    for host in HOSTS:
        subprocess.run(["ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
                        "-o", "UserKnownHostsFile=/dev/null", "-i", str(STATE / "edge/key"), f"root@{host}",
                        f"systemctl {command} iot-device"],
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True)


def scaled(kubectl: Kubectl, replicas: int) -> None:
    """Scale the receivers."""
    kubectl.text("scale", *DEPLOYMENT, f"--replicas={replicas}")


def test_ten_minutes_of_healthy_load_alert_nobody(monitoring: Monitoring, aws: Aws, tmp_path: Path) -> None:
    with telemetry(aws, tmp_path, 20) as load:
        ends = time.monotonic() + 600
        while time.monotonic() < ends:
            assert monitoring.told() == set()
            time.sleep(5)
        load.stop()
        assert load.published > 20 * 590
        assert load.missing(30) == []
    fired = monitoring.ask('max_over_time(ALERTS{alertstate="firing"}[10m])')
    assert {each["metric"]["alertname"] for each in fired} <= ALWAYS
    counted = monitoring.ask('sum(increase(iot_receiver_messages_total{outcome="stored"}[10m]))')
    assert float(counted[0]["value"][1]) > 20 * 500


def test_devices_send_what_is_no_reading(monitoring: Monitoring, secret: str) -> None:
    with Traffic(secret, readings), Traffic(secret, no_reading):
        monitoring.tells("IotReceiverRejecting")


def test_requests_come_with_a_wrong_secret(monitoring: Monitoring, secret: str) -> None:
    with Traffic(secret, readings), Traffic("of another", readings):
        monitoring.tells("IotReceiverRefusing")


def test_a_batch_holds_what_is_no_reading(monitoring: Monitoring, aws: Aws, secret: str) -> None:
    sqs = aws("sqs")
    queue = sqs.get_queue_url(QueueName="iot-receiver-receiver-dead-letters")["QueueUrl"]
    with requests.Session() as session, Traffic(secret, readings):
        assert send(session, secret, [*readings(), no_reading()]).json()["rejected"] == 1
        monitoring.tells("IotDeadLetters")
    for letter in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        if "alerts" in letter["Body"]:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=letter["ReceiptHandle"])


def test_one_receiver_is_missing_then_all_are(monitoring: Monitoring, kubectl: Kubectl) -> None:
    try:
        scaled(kubectl, 1)
        monitoring.tells("IotReceiverMissing")
        scaled(kubectl, 0)
        monitoring.tells("IotReceiverDown")
    finally:
        scaled(kubectl, 2)
        kubectl.text("rollout", "status", "deployment/iot-receiver", "-n", "apps", limit=120)
    # What the edge hosts published meanwhile waits on the rule's queue.
    monitoring.until(lambda: monitoring.ask('ALERTS{alertname="IotDeadLetters",queue="rule",alertstate="firing"}'),
                     IN_TIME, "the dead letters of the rule")


def test_dynamodb_is_slow_then_throttles_then_does_not_answer(
    monitoring: Monitoring, kubectl: Kubectl, secret: str
) -> None:
    with faulty_dynamodb(kubectl) as dynamodb, Traffic(secret, readings):
        time.sleep(20)  # of healthy operation, so that the next fault is a change
        dynamodb.delay = 0.3
        monitoring.tells("IotReceiverWritesSlow")
        dynamodb.delay, dynamodb.throttled = 0.0, 0.3
        monitoring.tells("IotReceiverThrottled")
        dynamodb.delay, dynamodb.throttled = 2.0, 0.0  # beyond the receivers' timeout
        monitoring.tells("IotReceiverBudgetBurnsFast", "IotReceiverBudgetBurnsSlow", "IotReceiverQueueing")


def test_a_secret_that_was_replaced_is_still_in_use(
    impatient: None, monitoring: Monitoring, kubectl: Kubectl, secret: str
) -> None:
    with replaced(kubectl) as old, requests.Session() as session, Traffic(secret, readings):
        monitoring.until(lambda: all(send(session, old, readings()).status_code == 200 for _ in range(8)), 150,
                         "receivers that take the old secret")
        with Traffic(old, readings, rate=2):
            monitoring.tells("IotReceiverOldSecret", besides=("IotReceiverRefusing",))


def test_devices_fall_silent(impatient: None, monitoring: Monitoring, secret: str) -> None:
    with Traffic(secret, readings):
        time.sleep(45)
    try:
        hosts("stop")
        monitoring.tells("IotDevicesSilent")
    finally:
        hosts("start")
