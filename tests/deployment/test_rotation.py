"""The shared secret becomes another one under load, by a playbook that is killed at each of its steps."""

import base64
import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from conftest import ROOT, Kubectl, Recap
from telemetry import telemetry

Aws = Callable[[str], Any]
Playbook = Callable[..., Recap]
ROTATION = "playbooks/rotate_secret.yml"
RULE = "forward_to_alb"
RATE = 200  # messages a second
# Tasks in which a run is killed, and after how many seconds; the run after it goes on from what it left. What is met
# that way: a secret that is staged, one that is just being promoted, and an old one that is still taken.
STEPS = {"Every pod takes the newest": 0.0, "Next secret is promoted": 0.8, "Nobody uses the old secret": 0.5}


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


def failures() -> Counter[str]:
    """What the rules engine has counted of the rule, other than success."""
    with urllib.request.urlopen("http://10.213.0.1:4567/metrics", timeout=10) as answer:
        lines = re.findall(rf'rule="{RULE}",action="(\w*)",metric="(\w+)"\}} (\d+)', answer.read().decode())
    return Counter({f"{action} {name}": int(count) for action, name, count in lines
                    if re.search("4XX|5XX|Other|Timeout|Fail|Error|Throttled", name)})


def letters(aws: Aws) -> int:
    """Messages on the rule's dead-letter queue."""
    sqs = aws("sqs")
    url = sqs.get_queue_url(QueueName="iot-receiver-rule-dead-letters")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    return int(attributes["ApproximateNumberOfMessages"])


def kill_at(step: str, after: float) -> str:
    """Run the rotation until some seconds after a task has begun, and kill it; its output."""
    environment = os.environ | {"PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"}
    seen = ""
    with subprocess.Popen(["ansible-playbook", ROTATION], cwd=ROOT, env=environment, text=True, bufsize=1,
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


def test_killed_at_every_step_under_load_no_message_is_refused_or_lost(
    playbook: Playbook, aws: Aws, kubectl: Kubectl, tmp_path: Path
) -> None:
    if len(labels(aws)) > 1:
        assert playbook(ROTATION).status == 0  # what somebody broke off before
    old, failed, dead = labels(aws)["AWSCURRENT"], failures(), letters(aws)
    assert labels(aws) == {"AWSCURRENT": old}
    assert accepted(kubectl) == {"current": old}
    with telemetry(aws, tmp_path, RATE) as load:
        met = set()
        for step, after in STEPS.items():
            kill_at(step, after)
            met |= set(labels(aws).values())
        done = playbook(ROTATION)
        load.stop()
        assert done.status == 0, done.output[-4000:]
        assert load.missing(30) == []
        assert load.published > RATE * 20
    [new] = met - {old}  # the runs had one rotation between them
    assert labels(aws) == {"AWSCURRENT": new}
    assert accepted(kubectl) == {"current": new}
    assert failures() == failed
    assert letters(aws) == dead
