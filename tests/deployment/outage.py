"""An outage of all receivers, and what becomes of the readings sent meanwhile."""

import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.deployment.conftest import Playbook, Recap
from tests.deployment.telemetry import Telemetry, telemetry

Aws = Callable[[str], Any]
Kubectl = Callable[..., Any]
RECEIVER = ("deployment", "iot-receiver", "-n", "apps")


def scale(kubectl: Kubectl, replicas: int) -> None:
    """Scale the receivers, and wait until they serve."""
    kubectl("scale", *RECEIVER, f"--replicas={replicas}")
    deadline = time.monotonic() + 60
    while kubectl("get", *RECEIVER)["status"].get("readyReplicas", 0) != replicas:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def letters(aws: Aws) -> int:
    """The number of dead letters, including those that a redrive has received and that SQS hides for a while."""
    sqs = aws("sqs")
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    return sum(
        int(number) for url in sqs.list_queues()["QueueUrls"]
        for number in sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"].values())


def settled(aws: Aws) -> int:
    """The number of dead letters once no message is still being retried."""
    before, deadline = -1, time.monotonic() + 60
    while before != (now := letters(aws)) or under_way():
        assert time.monotonic() < deadline
        before = now
        time.sleep(2)
    return now


def under_way() -> bool:
    """Whether the rules engine is delivering more than an edge host's occasional reading."""
    with urllib.request.urlopen("http://10.213.0.1:4567/metrics", timeout=10) as answer:
        found = re.search(r"^iot_rules_in_flight (\d+)", answer.read().decode(), re.MULTILINE)
    assert found
    return int(found[1]) > 2


def told(recap: Recap, queue: str) -> dict[str, int]:
    """A queue's line in the closing table of a redrive."""
    assert recap.status == 0, recap.output[-4000:]
    found = re.search(rf"{queue} +(\d+) +(\d+) +(\d+) +(\d+) +(\d+)", recap.output)
    assert found, recap.output[-4000:]
    names = ("letters", "redriven", "already_stored", "rejected", "left")
    return dict(zip(names, map(int, found.groups()), strict=True))


def survived(
    aws: Aws, kubectl: Kubectl, playbook: Playbook, folder: Path, *, rate: int, seconds: float
) -> Telemetry:
    """Stop all receivers for some seconds under load, then redrive twice: each reading ends as one row."""
    before = letters(aws)
    with telemetry(aws, folder, rate) as load:
        time.sleep(1)
        try:
            scale(kubectl, 0)
            time.sleep(seconds)
        finally:
            scale(kubectl, 2)
        time.sleep(1)
        load.stop()
        assert settled(aws) > before, "nothing became a dead letter"
        undelivered = len(load.missing(0))
        assert undelivered > 0

        first = told(playbook("playbooks/redrive.yml"), "rule")
        assert first["redriven"] >= undelivered  # other tests may have left some, too
        assert first["left"] == 0
        assert load.missing(0) == []
        rows = load.rows()
        assert [reading for reading, count in rows.items() if count > 1] == []

        again = playbook("playbooks/redrive.yml")
        second = told(again, "rule")
        assert second["redriven"] == 0
        assert second["letters"] <= second["rejected"]  # what is left holds an invalid reading
        assert again.changed == 0, again.output[-4000:]
        assert load.rows() == rows
    return load
