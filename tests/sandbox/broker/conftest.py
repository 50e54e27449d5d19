"""Fixtures of this folder's tests."""

from tests.sandbox.broker.fixtures import authority, broker, plugin

__all__ = ["authority", "broker", "plugin"]
