"""Runs that initialise one folder wait for each other."""

import threading
import time
from pathlib import Path

from ansible_collections.iotweb.deployment.plugins.action.terraform_command import alone


def test_a_second_run_waits_until_the_first_has_initialised_the_folder(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with alone(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with alone(tmp_path):
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
