"""Pods come and go under load; no client notices."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.deployment.conftest import Kubectl
from tests.deployment.load import Load


def test_a_rolling_restart_loses_nothing_and_shows_clients_no_error(
    kubectl: Kubectl, secret: str, aws: Callable[[str], Any]
) -> None:
    stamp = {"kubectl.kubernetes.io/restartedAt": datetime.now(UTC).isoformat()}
    patch = json.dumps({"spec": {"template": {"metadata": {"annotations": stamp}}}})
    before = names(kubectl)
    with Load(secret, rate=100) as load:
        kubectl("patch", "deployment", "iot-receiver", "-n", "apps", "-p", patch)
        kubectl.text("rollout", "status", "deployment/iot-receiver", "-n", "apps", limit=300)
        kubectl.text("wait", "--for=delete", "-n", "apps", "--timeout=120s",
                     *(f"pod/{name}" for name in before), limit=150)
    assert not names(kubectl) & before
    assert set(load.answers) == {"200"}, load.answers
    assert load.rows(aws("dynamodb")) == load.stored


def names(kubectl: Kubectl) -> set[str]:
    """The receiver's pods."""
    return {pod["metadata"]["name"] for pod in kubectl.receivers()}
