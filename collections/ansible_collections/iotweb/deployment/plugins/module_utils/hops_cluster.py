# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at the hops in Kubernetes."""

from __future__ import annotations

from typing import Any

from ansible_collections.iotweb.deployment.plugins.module_utils.hops import (
    BROKEN,
    CONTROLLER_ROLE,
    NOTE,
    Hop,
    chart,
    controller,
    image,
    rollout,
    tagged,
)

try:
    from kubernetes import client, config
    from kubernetes.client.exceptions import ApiException
except ImportError as missing:
    IMPORT_ERROR: ImportError | None = missing
else:
    IMPORT_ERROR = None

TIMEOUT = 15  # seconds


def number_ready(found: list[Any]) -> int:
    """How many nodes or pods are ready."""
    return sum(any(one.type == "Ready" and one.status == "True" for one in each.status.conditions or [])
               for each in found)  # fmt: skip


class Cluster:
    """The cluster of a kubeconfig."""

    def __init__(self, kubeconfig: str) -> None:
        if IMPORT_ERROR is not None:
            raise IMPORT_ERROR
        self._api = config.new_client_from_config(kubeconfig)
        self._apps, self._core = client.AppsV1Api(self._api), client.CoreV1Api(self._api)

    def _deployment(self, name: str, namespace: str) -> dict[str, Any] | None:
        try:
            found = self._apps.read_namespaced_deployment(name, namespace, _request_timeout=TIMEOUT)
        except ApiException as error:
            if error.status == 404:
                return None
            raise
        plain: dict[str, Any] = self._api.sanitize_for_serialization(found)
        return plain

    def nodes(self) -> Hop:
        """Nodes, and the version of Kubernetes."""
        version = client.VersionApi(self._api).get_code(_request_timeout=TIMEOUT).git_version
        nodes = self._core.list_node(_request_timeout=TIMEOUT).items
        ready = number_ready(nodes)
        state = f"Kubernetes {version}, {ready} of {len(nodes)} nodes ready"
        if not ready:
            return Hop("nodes", state, BROKEN, f"no node can run a pod: {tagged('terraform')}")
        return (
            Hop("nodes", state)
            if ready == len(nodes)
            else Hop("nodes", state, NOTE, "kubectl get nodes says which is not")
        )

    def controller(self, deployment: str, namespace: str, version: str) -> Hop:
        """The load balancer controller's Deployment."""
        found = self._deployment(deployment, namespace)
        if found is None:
            return Hop("controller", f"there is no {deployment} in {namespace}", BROKEN, tagged(CONTROLLER_ROLE))
        return controller(found, version)

    def monitoring(self, namespace: str, version: str) -> Hop:
        """Prometheus' operator, and whether all pods of the namespace are ready."""
        role = "kube_prometheus_stack"
        operators = self._apps.list_namespaced_deployment(
            namespace, label_selector="app.kubernetes.io/component=prometheus-operator", _request_timeout=TIMEOUT
        ).items
        if not operators:
            return Hop("monitoring", f"not installed in {namespace}", NOTE, tagged(role))
        text, differs = chart(operators[0].metadata.labels or {}, version)
        pods = self._core.list_namespaced_pod(namespace, _request_timeout=TIMEOUT).items
        ready = number_ready(pods)
        state = f"{ready} of {len(pods)} pods ready, {text}"
        if ready < len(pods):
            return Hop("monitoring", state, NOTE, f"kubectl -n {namespace} get pods; {tagged(role)}")
        return (
            Hop("monitoring", state, NOTE, f"this checkout installs another version: {tagged(role)}")
            if differs
            else Hop("monitoring", state)
        )

    def receiver(self, name: str, namespace: str, expected: str) -> list[Hop]:
        """The receiver's image and rollout."""
        found = self._deployment(name, namespace)
        if found is None:
            return [Hop("receiver", f"there is no {name} in {namespace}", BROKEN, tagged("receiver"))]
        deployed: str = found["spec"]["template"]["spec"]["containers"][0]["image"]
        pods = self._core.list_namespaced_pod(
            namespace, label_selector=f"app.kubernetes.io/name={name}", _request_timeout=TIMEOUT
        ).items
        digests = {
            status.image_id.rpartition("@")[2]
            for pod in pods for status in pod.status.container_statuses or [] if status.image_id
        }  # fmt: skip
        revision = found["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision", "?")
        return [
            image(deployed, min(digests, default="not pulled"), expected),
            rollout("receiver", found, "receiver", f"revision {revision}"),
        ]
