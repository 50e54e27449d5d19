"""Nodes that a node autoscaler launches: this machine's spare ones, each run by its program `boot`.

What Amazon Linux's nodeadm reads from an instance's user data, the node's kubelet gets as a drop-in configuration:
https://awslabs.github.io/amazon-eks-ami/nodeadm/doc/api/
"""

from __future__ import annotations

import base64
import email
import json
import logging
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import yaml

from iot_sandbox.aws import settings
from iot_sandbox.aws.nodes import NodeInstance
from iot_sandbox.aws.settings import KubernetesNode

log = logging.getLogger(__name__)
NODE_CONFIG = "application/node.eks.aws"
TAKEN_OVER = ("maxPods", "registerWithTaints")
END_SECONDS = 20.0


def node_config(user_data: object) -> dict[str, Any] | None:
    """The NodeConfig in an instance's user data (MIME, in base64), None where it has none."""
    try:
        message = email.message_from_bytes(base64.b64decode(str(user_data)))
    except ValueError:
        return None
    for part in message.walk():
        if part.get_content_type() == NODE_CONFIG:
            payload = part.get_payload(decode=True)
            found = yaml.safe_load(payload if isinstance(payload, bytes) else b"")
            return found if isinstance(found, dict) else None
    return None


class SpareNodes:
    """The spare nodes, and the instances that some of them are; safe for concurrent use."""

    def __init__(self, nodes: Sequence[KubernetesNode]) -> None:
        self._nodes = nodes
        self._running: dict[str, subprocess.Popen[bytes]] = {}  # by instance id
        self._taken: dict[str, str] = {}  # instance id by name of the node
        self._lock = Lock()

    def take(self, zone: str, instance_id: str) -> KubernetesNode | None:
        """Give an instance a spare node of a zone; None where there is none."""
        with self._lock:
            for node in self._nodes:
                if node.zone == zone and node.name not in self._taken:
                    self._taken[node.name] = instance_id
                    return node
        return None

    def boot(self, node: KubernetesNode, instance: NodeInstance, config: dict[str, Any]) -> None:
        """Start a node that was taken, with labels and taints of its NodeConfig."""
        kubelet = config.get("spec", {}).get("kubelet", {})
        assert node.folder  # noqa: S101 - a spare node has one
        launch = node.folder / "launch"
        launch.mkdir(exist_ok=True)
        settings = {key: value for key, value in kubelet.get("config", {}).items() if key in TAKEN_OVER}
        drop_in = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "providerID": instance.provider_id,
            **settings,
        }
        (launch / "instance.conf").write_text(json.dumps(drop_in), encoding="utf-8")
        labels = [flag.partition("=")[2].strip('"') for flag in kubelet.get("flags", []) if "--node-labels=" in flag]
        (launch / "labels").write_text(",".join(labels), encoding="utf-8")
        self._start(node.folder, instance.instance_id)

    def _start(self, folder: Path, instance_id: str) -> None:
        with (folder / "boot.log").open("ab") as output:
            program = subprocess.Popen(
                [folder / "boot"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        log.info("instance %s is %s", instance_id, folder.name)
        with self._lock:
            self._running[instance_id] = program

    def end(self, instance_id: str) -> None:
        """End the node that an instance is, in the background; nothing for another instance."""
        with self._lock:
            program = self._running.get(instance_id)
        if program:
            program.terminate()
            Thread(target=self._await_end, args=(program, instance_id), name=f"end-{instance_id}", daemon=True).start()
        else:
            self._release(instance_id)

    def _await_end(self, program: subprocess.Popen[bytes], instance_id: str) -> None:
        try:
            program.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("instance %s does not end: killed", instance_id)
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)  # what the program has left running
        program.wait()
        self._release(instance_id)

    def _release(self, instance_id: str) -> None:
        with self._lock:
            self._running.pop(instance_id, None)
            self._taken = {name: taken for name, taken in self._taken.items() if taken != instance_id}


@cache
def current() -> SpareNodes:
    """Those of this machine."""
    return SpareNodes(settings.current().spare_nodes)
