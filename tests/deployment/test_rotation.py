"""The shared secret is rotated under load by a playbook that is killed at each of its steps.

All runs have a colleague's rights, and the last one is from the colleague's checkout.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.deployment.colleague import Operator
from tests.deployment.conftest import Kubectl, Playbook
from tests.deployment.rotation import ROTATION, accepted, kill_at, labels, refused
from tests.deployment.telemetry import telemetry

Aws = Callable[[str], Any]
RATE = 200  # messages a second
# Tasks in which a run is killed, and after how many seconds; the next run continues from there. The states met
# this way: a staged secret, one that is being promoted, and an old one that is still accepted.
STEPS = {
    "Wait until every pod accepts the newest value": 0.0,
    "Promote the next secret": 0.8,
    "Wait until no request uses the old secret": 0.5,
}


def test_killed_at_every_step_under_load_no_message_is_refused_or_lost(
    colleague: Playbook, operator: Operator, aws: Aws, kubectl: Kubectl, tmp_path: Path
) -> None:
    if len(labels(aws)) > 1:
        assert colleague(ROTATION).status == 0  # what an earlier run left unfinished
    old, before = labels(aws)["AWSCURRENT"], refused()
    assert labels(aws) == {"AWSCURRENT": old}
    assert accepted(kubectl) == {"current": old}
    with telemetry(aws, tmp_path, RATE) as load:
        met = set()
        for step, after in STEPS.items():
            kill_at(step, after, *operator.options)
            met |= set(labels(aws).values())
        done = colleague(ROTATION)
        load.stop()
        assert done.status == 0, done.output[-4000:]
        assert load.missing(30) == []
        assert load.published > RATE * 20
    [new] = met - {old}  # the runs had one rotation between them
    assert labels(aws) == {"AWSCURRENT": new}
    assert accepted(kubectl) == {"current": new}
    assert refused() == before
