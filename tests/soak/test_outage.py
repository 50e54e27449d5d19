"""A minute without receivers at a fleet's rate."""

from pathlib import Path

from tests.deployment.conftest import Playbook
from tests.deployment.outage import Aws, Kubectl, survived


def test_after_a_minute_without_receivers_the_ledgers_are_equal(
    aws: Aws, kubectl: Kubectl, playbook: Playbook, tmp_path: Path
) -> None:
    load = survived(aws, kubectl, playbook, tmp_path, rate=200, seconds=60)
    assert load.published > 200 * 60
