"""Fixtures of the broker, for every test that needs one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.broker.emulator import Emulator
from tests.sandbox.broker.mosquitto import MOSQUITTO, PLUGIN, Broker
from tests.support.certificates import Authority
from tests.support.emulated_aws import emulated_aws

__all__ = ["authority", "broker", "emulator", "plugin"]


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if MOSQUITTO is None or not Path("/usr/include/mosquitto_plugin.h").exists():
        pytest.skip("mosquitto is not installed: apt-get install mosquitto mosquitto-dev libmosquitto-dev")
    built: Path = tmp_path_factory.mktemp("plugin") / "iot_policies.so"
    subprocess.run([PLUGIN / "build", built], check=True)
    return built


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def broker(tmp_path: Path, plugin: Path, authority: Authority) -> Iterator[Broker]:
    running = Broker(tmp_path, plugin, authority)
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Emulator]:
    with emulated_aws(tmp_path_factory.mktemp("aws"), authority.folder, {}) as url:
        yield Emulator(url, authority)
