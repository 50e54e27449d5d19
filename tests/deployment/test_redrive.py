"""An outage under load: what could not be delivered becomes dead letters, and a redrive makes each one row."""

from pathlib import Path

from tests.deployment.conftest import Playbook
from tests.deployment.outage import Aws, Kubectl, survived


def test_after_an_outage_and_a_redrive_the_ledgers_are_equal(
    aws: Aws, kubectl: Kubectl, colleague: Playbook, tmp_path: Path
) -> None:
    load = survived(aws, kubectl, colleague, tmp_path, rate=40, seconds=5)
    assert load.published > 40 * 5
