"""Fixtures of this folder's tests."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "sandbox")]  # the daemons' own environment has the package installed

from tests.sandbox.broker.fixtures import authority, broker, emulator, plugin  # noqa: E402

__all__ = ["authority", "broker", "emulator", "plugin"]
