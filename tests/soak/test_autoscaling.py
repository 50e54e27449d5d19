"""The number of receivers follows their load, without errors to clients and undisturbed by site.yml."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from tests.deployment.conftest import Kubectl, Playbook, needs_chart
from tests.deployment.load import Load

MOST = 3  # the machine is small
SITE = ("site.yml", "--tags", "receiver")
AUTOSCALED = (*SITE, "-e", json.dumps({"receiver_autoscaling": True, "receiver_autoscaling_max_replicas": MOST}))
DEPLOYMENT = ("deployment", "iot-receiver", "-n", "apps")

pytestmark = needs_chart("metrics-server", "metrics-server")


@pytest.fixture
def unscaled(playbook: Playbook) -> Iterator[None]:
    """Restore the receivers after the test."""
    yield
    playbook(*SITE)


@contextmanager
def wanted(kubectl: Kubectl) -> Iterator[Callable[[], list[int]]]:
    """Every number of pods that the Deployment asks for while the block runs."""
    watch = [*kubectl.command, "get", *DEPLOYMENT, "--watch", "-o", 'jsonpath={.spec.replicas}{"\\n"}']
    with subprocess.Popen(watch, text=True, stdout=subprocess.PIPE) as running:
        def end() -> list[int]:
            running.terminate()
            return [int(line) for line in running.communicate()[0].splitlines()]

        try:
            yield end
        finally:
            running.terminate()


def ready(kubectl: Kubectl) -> dict[str, str]:
    """The addresses of the receivers that are ready, by name."""
    return {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in kubectl.ready_receivers()}


def answered(address: str) -> float:
    """How many requests a receiver has answered."""
    lines = requests.get(f"http://{address}:8080/metrics", timeout=5).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("iot_receiver_requests_total{"))


def test_load_adds_a_receiver_that_takes_its_share(
    kubectl: Kubectl, unscaled: None, playbook: Playbook, secret: str, aws: Callable[[str], Any]
) -> None:
    before = set(ready(kubectl))
    assert len(before) == 2
    with wanted(kubectl) as numbers, Load(secret, rate=150) as load:
        on = playbook(*AUTOSCALED)
        assert on.status == 0, on.output[-4000:]
        give_up = time.monotonic() + 150
        while not (added := {name: address for name, address in ready(kubectl).items() if name not in before}):
            assert time.monotonic() < give_up, kubectl.text("describe", "hpa", "iot-receiver", "-n", "apps")
            time.sleep(1)
        give_up = time.monotonic() + 20
        while not all(answered(address) > 50 for address in added.values()):
            assert time.monotonic() < give_up, "the new receiver gets no requests"
            time.sleep(1)
        again = playbook(*AUTOSCALED)
        off = playbook(*SITE)
        seen = set(numbers())
    assert (again.status, again.changed) == (0, 0), again.output[-4000:]
    assert off.status == 0, off.output[-4000:]
    assert seen == {2, MOST}  # at no time fewer than before
    assert kubectl("get", "hpa", "-n", "apps")["items"] == []
    assert len(ready(kubectl)) == 2
    assert set(load.answers) == {"200"}, load.answers
    assert load.rows(aws("dynamodb")) == load.stored
    assert playbook(*SITE).changed == 0
