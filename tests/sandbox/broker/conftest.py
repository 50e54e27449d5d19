"""Fixtures of this folder's tests."""

from tests.sandbox.broker.fixtures import authority, broker, emulator, plugin

__all__ = ["authority", "broker", "emulator", "plugin"]
