"""A rotation seen from outside: labels, secrets, refusals; and how to interrupt it."""

import base64
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from tests.deployment.conftest import Kubectl
from tests.support.ansible import environment
from tests.support.paths import ROOT

Aws = Callable[[str], Any]
ROTATION = "playbooks/rotate_secret.yml"
RULE = "forward_to_alb"


def mark(value: str) -> str:
    """What the receiver's metrics call a secret."""
    return sha256(value.encode()).hexdigest()[:12]


def labels(aws: Aws) -> dict[str, str]:
    """The version of each staging label, by its fingerprint."""
    secrets = aws("secretsmanager")
    stages = secrets.describe_secret(SecretId="iot-receiver/secret")["VersionIdsToStages"]
    found = {label: secrets.get_secret_value(SecretId="iot-receiver/secret", VersionId=version)["SecretString"]
             for version, names in stages.items() for label in names}
    return {label: mark(json.loads(text)["secret"]) for label, text in found.items()}


def accepted(kubectl: Kubectl) -> dict[str, str]:
    """What the receiver's Secret in the cluster holds, by fingerprint."""
    data = kubectl("get", "secret", "iot-receiver", "-n", "apps")["data"]
    return {name: mark(base64.b64decode(value).decode()) for name, value in data.items()}


def refused() -> int:
    """Requests of the rule that the receiver has refused, as the rules engine counts them."""
    with urllib.request.urlopen("http://10.213.0.1:4567/metrics", timeout=10) as answer:
        counts = re.findall(rf'rule="{RULE}",.*metric="HttpCode_4XX"\}} (\d+)', answer.read().decode())
    return sum(map(int, counts))


def kill_at(step: str, after: float, *arguments: str) -> str:
    """Run the rotation, kill it some seconds after a task has begun, and return its output."""
    # A task's name is shown when it begins only where skipped ones are shown as well.
    shown = environment(ANSIBLE_DISPLAY_SKIPPED_HOSTS="true")
    seen = ""
    with subprocess.Popen(["ansible-playbook", ROTATION, *arguments], cwd=ROOT, env=shown, text=True, bufsize=1,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          start_new_session=True) as running:
        assert running.stdout
        for line in running.stdout:
            seen += line
            if line.startswith("TASK") and step in line:
                time.sleep(after)
                os.killpg(running.pid, signal.SIGKILL)
                return seen
    raise AssertionError(f"{step} was not reached:\n{seen[-3000:]}")
