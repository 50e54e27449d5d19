"""One action taken out of a role's policy: what runs under the role says which.

That playbooks work with all of their rights is what the other tests see.
"""

import json
import re
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx
import requests

from tests.deployment.conftest import Kubectl, Playbook
from tests.deployment.rights import allowed, without
from tests.deployment.test_ingest import reading
from tests.support.waiting import until

Aws = Callable[[str], Any]
ROLES = ("iot-receiver-pod", "iot-receiver-readings", "iot-receiver-redrive", "iot-receiver-rule")
PREFLIGHT = ("playbooks/infrastructure.yml", "--tags", "preflight")
EFFECT = 20  # seconds in which a changed policy holds for a pod's calls


def names(kubectl: Kubectl, name: str, action: str) -> bool:
    """Whether a pod has lately logged that an action was denied."""
    pods = ("-n", "apps", "-l", f"app.kubernetes.io/name={name}")
    lines = kubectl.text("logs", *pods, "--since=60s", "--tail=-1").splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return any(line.get("action") == action and line.get("code") == "AccessDeniedException" for line in found)


def test_the_receiver_names_the_write_that_it_may_not_make(
    aws: Aws, kubectl: Kubectl, https: httpx.Client, secret: str
) -> None:
    device = f"outsider-{uuid.uuid4().hex[:8]}"

    def sent() -> int:
        return https.post("/ingest", json=reading(device), headers={"X-Iot-Secret": secret}).status_code

    with without(aws, "iot-receiver-pod", "dynamodb:BatchWriteItem"):
        until(lambda: sent() == 503, EFFECT, "a write is refused", every=0.5)
        until(lambda: names(kubectl, "iot-receiver", "dynamodb:BatchWriteItem"), EFFECT, "it is logged", every=1)
    until(lambda: sent() == 200, EFFECT, "writes are allowed again", every=0.5)


def test_the_page_names_the_query_that_it_may_not_make(aws: Aws, kubectl: Kubectl) -> None:
    address = kubectl("get", "service", "iot-readings", "-n", "apps")["spec"]["clusterIP"]

    def asked() -> requests.Response:
        return requests.get(f"http://{address}/v1/devices/edge-1/readings", {"limit": "1"}, timeout=10)

    with without(aws, "iot-receiver-readings", "dynamodb:Query"):
        until(lambda: asked().status_code == 503, EFFECT, "a query is refused", every=0.5)
        until(lambda: names(kubectl, "iot-readings", "dynamodb:Query"), EFFECT, "it is logged", every=1)
    until(lambda: asked().status_code == 200, EFFECT, "queries are allowed again", every=0.5)


def test_the_redrive_names_the_call_that_it_may_not_make(aws: Aws, playbook: Playbook) -> None:
    with without(aws, "iot-receiver-redrive", "sqs:ReceiveMessage"):
        refused = playbook("playbooks/redrive.yml")
    assert refused.status != 0
    assert "The redrive ended early: AWS refuses sqs:ReceiveMessage: AccessDenied" in " ".join(refused.output.split())


def test_a_run_names_every_action_that_a_role_lacks(aws: Aws, playbook: Playbook) -> None:
    """Also what nothing calls as long as all goes well: IAM's simulator is asked."""
    rights = {role: allowed(aws, role) for role in ROLES}
    with ExitStack() as stack:
        for role, actions in rights.items():
            stack.enter_context(without(aws, role, *actions))
        refused = playbook(*PREFLIGHT)
    assert refused.status != 0
    named = re.findall(r":role/([\w-]+) may not (\w+:\w+) on ", refused.output)
    assert set(named) == {(role, action) for role, actions in rights.items() for action in actions}
