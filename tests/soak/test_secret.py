"""Complete rotations under load: interrupted in each of their tasks, and while site.yml runs again and again."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deployment.conftest import Kubectl, Playbook
from tests.deployment.rotation import ROTATION, accepted, kill_at, labels, mark, refused
from tests.deployment.telemetry import telemetry

Aws = Callable[[str], Any]
RATE = 200  # messages a second
BY_REFERENCE = "${get_secret("
# Tasks in which a run is interrupted, each so many seconds after it began.
STEPS = {
    "Stage the next secret": 0.8,
    "Give the pods every value that is accepted": 0.3,
    "Wait until every pod accepts the newest value": 0.5,
    "Promote the next secret": 0.8,
    "Tell the pods which value is current": 0.3,
    "Rule carries the current secret": 1.5,
    "Give the pods both values": 0.3,
    "Wait until IoT Core's copies of the old secret have expired": 1.0,
    "Wait until no request uses the old secret": 0.5,
    "Drop the old secret": 0.8,
    "Remove the old value from the pods": 0.3,
    "Wait until no pod accepts the old secret": 0.3,
    "Remove the old secret's labels": 0.8,
}


@dataclass
class Deployment:
    """The deployment, whose rule gets the secret in one of two ways."""

    source: str
    aws: Aws
    kubectl: Kubectl
    playbook: Playbook

    @property
    def setting(self) -> tuple[str, str]:
        """Arguments of each playbook."""
        return "-e", f"iot_core_secret_source={self.source}"

    def site(self, *tags: str) -> None:
        """Run site.yml."""
        done = self.playbook("site.yml", "--tags", ",".join(tags), *self.setting)
        assert done.status == 0, done.output[-4000:]

    def rotate(self) -> None:
        """Run a rotation to its end."""
        done = self.playbook(ROTATION, *self.setting)
        assert done.status == 0, done.output[-4000:]

    def carried(self) -> str:
        """What the rule sends as the secret, by its fingerprint where it is a literal."""
        rule = self.aws("iot").get_topic_rule(ruleName="forward_to_alb")["rule"]
        [header] = rule["actions"][0]["http"]["headers"]
        return BY_REFERENCE if header["value"].startswith(BY_REFERENCE) else mark(header["value"])

    @contextmanager
    def rotated(self, folder: Path) -> Iterator[None]:
        """Rotate under load; afterwards the secret is another one, and no message was refused or lost."""
        old, before = labels(self.aws)["AWSCURRENT"], refused()
        assert labels(self.aws) == {"AWSCURRENT": old}
        with telemetry(self.aws, folder, RATE) as load:
            yield
            load.stop()
            assert load.missing(30) == []
        assert refused() == before
        new = labels(self.aws)["AWSCURRENT"]
        assert new != old
        assert labels(self.aws) == {"AWSCURRENT": new}
        assert accepted(self.kubectl) == {"current": new}
        assert self.carried() == (new if self.source == "literal" else BY_REFERENCE)


@pytest.fixture(scope="module", params=["get_secret", "literal"])
def deployment(
    request: pytest.FixtureRequest, aws: Aws, kubectl: Kubectl, playbook: Playbook
) -> Iterator[Deployment]:
    """The deployment with each source of the rule's secret; restored afterwards."""
    deployed = Deployment(request.param, aws, kubectl, playbook)
    if len(labels(aws)) > 1:
        deployed.rotate()  # what an earlier run left unfinished
    deployed.site("iot_core")
    yield deployed
    assert playbook("site.yml", "--tags", "iot_core").status == 0


@pytest.mark.parametrize("first", [0, 1])
def test_interrupted_in_each_task_it_ends_right(deployment: Deployment, tmp_path: Path, first: int) -> None:
    with deployment.rotated(tmp_path):
        met = set(labels(deployment.aws).values())
        for step in [*STEPS][first::2]:
            kill_at(step, STEPS[step], *deployment.setting)
            met |= set(labels(deployment.aws).values())
        if len(labels(deployment.aws)) > 1:
            deployment.rotate()
    assert len(met) == 2  # the runs had one rotation between them


def test_site_run_between_steps_undoes_none(deployment: Deployment, tmp_path: Path) -> None:
    with deployment.rotated(tmp_path):
        for step in (
            "Wait until every pod accepts the newest value",
            "Wait until no request uses the old secret",
            "Wait until no pod accepts the old secret",
        ):
            kill_at(step, STEPS[step], *deployment.setting)
            before = labels(deployment.aws)
            assert len(before) == 2
            deployment.site("receiver", "iot_core")
            assert labels(deployment.aws) == before
            taken = {mark for label, mark in before.items() if label != "DROPPED"}
            assert set(accepted(deployment.kubectl).values()) == taken
        deployment.rotate()


def test_site_run_at_the_same_time_breaks_nothing(deployment: Deployment, tmp_path: Path) -> None:
    with deployment.rotated(tmp_path), ThreadPoolExecutor(1) as beside:
        rotation = beside.submit(deployment.rotate)
        while not rotation.done():
            deployment.site("receiver", "iot_core")
        rotation.result()
