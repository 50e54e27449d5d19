"""promtool, which the sandbox's build makes of Prometheus' own module."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

BUILT = Path("/var/cache/iot-receiver-sandbox/bin/monitoring/promtool")
Promtool = Callable[..., str]


@pytest.fixture(scope="session")
def promtool() -> Promtool:
    """Runs promtool, asserts that it is content, and returns what it says."""
    program = str(BUILT) if BUILT.exists() else shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not there: `make sandbox` builds it where monitoring's chart can be had")

    def run(*arguments: str | Path) -> str:
        done = subprocess.run([program, *map(str, arguments)], text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run
