"""How often the API is looked at."""

import pytest
from iot_sandbox.shared import pace


def test_looks_are_rarer_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    rhythm = pace.Pace(0.5)
    assert rhythm.pause(changed=False) == 0.5
    now += pace.LIVELY_SECONDS
    assert rhythm.pause(changed=False) == 0.5 * pace.QUIET_FACTOR
    assert rhythm.pause(changed=True) == 0.5
    now += pace.LIVELY_SECONDS - 1
    assert rhythm.pause(changed=False) == 0.5
