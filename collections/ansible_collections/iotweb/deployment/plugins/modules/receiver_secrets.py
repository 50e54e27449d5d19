#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: receiver_secrets
version_added: 2.0.0
short_description: Wait until the receiver's pods accept a shared secret, no longer use it, or no longer accept it
description:
  - Asks every running pod for its metrics, through the cluster's API as C(kubectl port-forward) does, so it needs no
    route to the pods, and metrics may be hidden from the load balancer.
  - Changes nothing.
author:
  - IoT receiver contributors (@iotweb)
options:
  kubeconfig:
    description: File that says how the cluster is reached.
    type: path
    required: true
  namespace:
    description: Namespace of the pods.
    type: str
    required: true
  label_selector:
    description: The pods.
    type: str
    required: true
  fingerprint:
    description: The secret, by the first 12 hex digits of its SHA-256.
    type: str
    required: true
  state:
    description:
      - With V(taken), every pod accepts the secret.
      - With V(unused), no request has used it for O(quiet) seconds.
      - With V(refused), no pod accepts it.
    type: str
    choices: [taken, unused, refused]
    required: true
  quiet:
    description: How long it must have been unused, in seconds.
    type: float
    default: 30
  wait_timeout:
    description: Longest wait, in seconds.
    type: float
    default: 60
  wait_delay:
    description: Time between two looks, in seconds.
    type: float
    default: 2
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
"""

EXAMPLES = r"""
- name: Wait until every pod accepts the new secret
  iotweb.deployment.receiver_secrets:
    kubeconfig: ~/.kube/config
    namespace: apps
    label_selector: app.kubernetes.io/name=iot-receiver
    fingerprint: 0123456789ab
    state: taken
"""

RETURN = r"""
pods:
  description: Names of the pods that were asked last.
  type: list
  elements: str
  returned: always
uses:
  description: Requests that gave the secret while the module waited.
  type: int
  returned: always
"""

import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from kubernetes.client import ApiException, CoreV1Api
    from kubernetes.config import ConfigException, new_client_from_config
    from kubernetes.stream import portforward
except ImportError:
    HAS_KUBERNETES, KUBERNETES_ERROR = False, traceback.format_exc()
else:
    HAS_KUBERNETES, KUBERNETES_ERROR = True, ""

PORT = 8081
REQUEST = b"GET /metrics HTTP/1.1\r\nHost: receiver\r\nAccept: text/plain\r\nConnection: close\r\n\r\n"
METRICS_S = 5  # that a pod may take to answer
STARTING_S = 120  # for so long a scheduled pod may be about to start with the secrets of before
SAMPLE = re.compile(r"iot_receiver_secret_(info|uses_total)\{([^}]*)\} ([0-9.e+]+)")
LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Pod:
    """What a pod says of secrets: those it takes, and how often each was used since its start."""

    taken: frozenset[str] = frozenset()
    uses: Mapping[str, int] = field(default_factory=dict)


def read(metrics: str) -> Pod:
    """A pod by its metrics in Prometheus' text format."""
    taken: set[str] = set()
    uses: dict[str, int] = {}
    for kind, labels, value in SAMPLE.findall(metrics):
        secret = dict(LABEL.findall(labels)).get("fingerprint", "")
        if kind == "info":
            taken.add(secret)
        else:
            uses[secret] = uses.get(secret, 0) + int(float(value))
    return Pod(frozenset(taken), uses)


class Watch:
    """Follows one secret from look to look. A look has each pod by its name, or the reason why it said nothing."""

    def __init__(self, fingerprint: str, state: str, quiet: float) -> None:
        self.fingerprint, self.state, self.quiet = fingerprint, state, quiet
        self.uses = 0
        self._known: dict[str, int] | None = None
        self._quiet_since = 0.0

    def reached(self, pods: Mapping[str, Pod | str], now: float) -> bool:
        """Take a look's result into account; true once the state is reached."""
        if self.state == "unused":
            return self._unused(pods, now)
        return bool(pods) and not self.missing(pods)

    def missing(self, pods: Mapping[str, Pod | str]) -> dict[str, str]:
        """Pods that are not as they should be, with the reason."""
        found = {}
        for name, pod in pods.items():
            if isinstance(pod, str):
                found[name] = pod
            elif self.state == "taken" and self.fingerprint not in pod.taken:
                found[name] = "does not take the secret yet"
            elif self.state == "refused" and self.fingerprint in pod.taken:
                found[name] = "still takes the secret"
        return found

    def _unused(self, pods: Mapping[str, Pod | str], now: float) -> bool:
        counts = {name: pod.uses.get(self.fingerprint, 0) for name, pod in pods.items() if isinstance(pod, Pod)}
        first, known = self._known is None, self._known or {}
        # a counter that went back belongs to a process that has just started
        added = sum(n - known.get(name, 0) if n >= known.get(name, 0) else n for name, n in counts.items())
        self._known = known | counts
        if first or added or len(counts) < len(pods):
            self._quiet_since = now
        self.uses += 0 if first else added
        return now - self._quiet_since >= self.quiet


class Pods:
    """The receiver's pods, as the cluster's API shows them."""

    def __init__(self, kubeconfig: str, namespace: str, label_selector: str) -> None:
        self.api = CoreV1Api(new_client_from_config(kubeconfig))
        self.namespace, self.label_selector = namespace, label_selector

    def look(self) -> dict[str, Pod | str]:
        """Every pod that serves or is about to, by name."""
        return dict(self._look())

    def _look(self) -> Iterator[tuple[str, Pod | str]]:
        for pod in self.api.list_namespaced_pod(self.namespace, label_selector=self.label_selector).items:
            name, phase = pod.metadata.name, pod.status.phase
            statuses = pod.status.container_statuses or []
            if phase == "Running" and any(status.state.running for status in statuses):
                yield name, self._ask(name)
            elif phase in ("Pending", "Running") and starting(pod):
                yield name, "is starting"

    def _ask(self, name: str) -> Pod | str:
        try:
            return read(self._metrics(name))
        except (OSError, HTTPException, ApiException, ValueError) as error:
            return f"does not show its metrics ({error})"

    def _metrics(self, name: str) -> str:
        method = self.api.connect_get_namespaced_pod_portforward
        forward = portforward(method, name, self.namespace, ports=str(PORT))
        try:
            connection = forward.socket(PORT)
            connection.settimeout(METRICS_S)
            connection.sendall(REQUEST)
            with HTTPResponse(connection) as answer:
                answer.begin()
                if answer.status != 200:
                    raise ValueError(f"status {answer.status}")
                return answer.read().decode()
        finally:
            forward.close()


def starting(pod: Any) -> bool:
    """Whether a pod that does not run yet may soon, with a Secret that it read before: not one that is stuck."""
    age = time.time() - pod.metadata.creation_timestamp.timestamp()
    return bool(pod.spec.node_name) and pod.metadata.deletion_timestamp is None and age < STARTING_S


def follow(
    watch: Watch, look: Callable[[], dict[str, Pod | str]], timeout: float, delay: float
) -> tuple[bool, dict[str, Pod | str]]:
    """Look again and again: whether the state was reached in time, and the pods of the last look."""
    until = time.monotonic() + timeout
    while True:
        pods = look()
        now = time.monotonic()
        if watch.reached(pods, now):
            return True, pods
        if now >= until:
            return False, pods
        time.sleep(delay)


def complaint(watch: Watch, pods: Mapping[str, Pod | str], params: Mapping[str, Any]) -> str:
    """Why the state was not reached, and what to do."""
    waited = f"after {params['wait_timeout']:.0f} s"
    if not pods:
        return (
            f"No pod {params['label_selector']} runs in namespace {params['namespace']}: deploy the receiver first"
            " (ansible-playbook site.yml --tags receiver)."
        )
    if watch.state == "unused" and watch.uses:
        return (
            f"{watch.uses} requests gave the old secret {watch.fingerprint} within {params['wait_timeout']:.0f} s. IoT"
            " Core still holds it, or something else does: a rule that carries it as a literal value, or another"
            " sender. Nothing was dropped; run again once that has the new one."
        )
    reasons = "; ".join(f"{name} {reason}" for name, reason in watch.missing(pods).items())
    return (
        f"Not all pods were as they should be {waited}: {reasons}. Nothing was dropped; look at them (kubectl -n"
        f" {params['namespace']} get pods -l {params['label_selector']}) and run again."
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "kubeconfig": {"type": "path", "required": True},
            "namespace": {"type": "str", "required": True},
            "label_selector": {"type": "str", "required": True},
            "fingerprint": {"type": "str", "required": True},
            "state": {"choices": ["taken", "unused", "refused"], "required": True},
            "quiet": {"type": "float", "default": 30},
            "wait_timeout": {"type": "float", "default": 60},
            "wait_delay": {"type": "float", "default": 2},
        },
        supports_check_mode=True,
    )
    if not HAS_KUBERNETES:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=KUBERNETES_ERROR)
    wanted = module.params
    watch = Watch(wanted["fingerprint"], wanted["state"], wanted["quiet"])
    try:
        pods = Pods(wanted["kubeconfig"], wanted["namespace"], wanted["label_selector"])
        reached, last = follow(watch, pods.look, wanted["wait_timeout"], wanted["wait_delay"])
    except (ApiException, ConfigException, OSError) as error:
        module.fail_json(msg=f"The receiver's pods could not be looked at: {error}")
    if not reached:
        module.fail_json(msg=complaint(watch, last, wanted), pods=sorted(last), uses=watch.uses)
    module.exit_json(changed=False, pods=sorted(last), uses=watch.uses)


if __name__ == "__main__":
    main()
