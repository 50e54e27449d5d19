"""The real receiver's destination: left in each of its statuses, and made by two runs at once."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.deployment.conftest import DOMAIN, Playbook
from tests.deployment.outage import Aws, Kubectl, scale

ROLE = ("site.yml", "--tags", "iot_core")
URL = f"https://{DOMAIN}/ingest"


def statuses(aws: Aws) -> list[str]:
    """The statuses of the URL's destinations."""
    held = aws("iot").list_topic_rule_destinations()["destinationSummaries"]
    return [one["status"] for one in held if one["httpUrlSummary"]["confirmationUrl"] == URL]


@pytest.fixture
def arn(aws: Aws, playbook: Playbook) -> Iterator[str]:
    """The enabled destination. Dead letters of the test are redriven afterwards."""
    [held] = aws("iot").list_topic_rule_destinations()["destinationSummaries"]
    assert held["status"] == "ENABLED"
    yield held["arn"]
    assert statuses(aws) == ["ENABLED"]
    assert playbook("playbooks/redrive.yml").status == 0


LEAVE: dict[str, Callable[[Any, str], None]] = {
    "IN_PROGRESS": lambda iot, arn: iot.update_topic_rule_destination(arn=arn, status="IN_PROGRESS"),
    "DISABLED": lambda iot, arn: iot.update_topic_rule_destination(arn=arn, status="DISABLED"),
    "DELETING": lambda iot, arn: iot.delete_topic_rule_destination(arn=arn),
}


@pytest.mark.parametrize("left", LEAVE)
def test_one_left_in_a_status_is_enabled(aws: Aws, playbook: Playbook, arn: str, left: str) -> None:
    LEAVE[left](aws("iot"), arn)
    done = playbook(*ROLE)
    assert done.status == 0, done.output[-4000:]
    assert statuses(aws) == ["ENABLED"]
    again = playbook(*ROLE)
    assert (again.status, again.changed) == (0, 0)


def test_one_in_error_is_enabled_once_there_are_receivers(
    aws: Aws, playbook: Playbook, kubectl: Kubectl, arn: str
) -> None:
    try:
        scale(kubectl, 0)
        until = time.monotonic() + 60
        while statuses(aws) != ["ERROR"]:
            assert time.monotonic() < until
            if statuses(aws) == ["ENABLED"]:  # by a receiver that is about to end
                aws("iot").update_topic_rule_destination(arn=arn, status="IN_PROGRESS")
            time.sleep(1)
        refused = playbook(*ROLE, "-e", "iot_core_url_timeout=5")
        assert refused.status != 0
        told = " ".join(refused.output.split())
        assert "answers 503: the load balancer has no healthy target" in told
        assert statuses(aws) == ["ERROR"]
    finally:
        scale(kubectl, 2)
    done = playbook(*ROLE)
    assert done.status == 0, done.output[-4000:]
    assert statuses(aws) == ["ENABLED"]


@pytest.mark.parametrize("first", ["DELETING", "gone"])
def test_two_runs_at_once_make_one(aws: Aws, playbook: Playbook, arn: str, first: str) -> None:
    aws("iot").delete_topic_rule_destination(arn=arn)
    while first == "gone" and statuses(aws):
        time.sleep(0.2)
    with ThreadPoolExecutor(2) as both:
        runs = [run.result() for run in [both.submit(playbook, *ROLE) for _ in range(2)]]
    assert [run.status for run in runs] == [0, 0], "\n".join(run.output[-2000:] for run in runs)
    assert statuses(aws) == ["ENABLED"]
    assert sum(run.changed for run in runs) >= 1
