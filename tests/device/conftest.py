"""A device and the broker it publishes to."""

import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from iot_device.settings import Settings

from tests.device.a_broker import Broker
from tests.device.a_scripted_broker import ScriptedBroker
from tests.device.harness import started
from tests.support.certificates import make_certificate

# A shell has its background jobs ignore it, and what they start would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, name="ended")
def _ended() -> Iterator[None]:
    """End what a test that failed has left running."""
    yield
    while started:
        with started.pop() as process:
            process.kill()


@pytest.fixture(scope="session", name="identities")
def _identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA, the broker's certificate, a device's, and one of a stranger."""
    folder = tmp_path_factory.mktemp("identities")
    folder.chmod(0o755)
    ours = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
    make_certificate(folder, "ca")
    make_certificate(folder, "broker", *ours, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    make_certificate(folder, "sensor-1", *ours)
    make_certificate(folder, "stranger")
    return folder


@pytest.fixture(name="broker")
def _broker(identities: Path) -> Iterator[Broker]:
    if not shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin"):
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    broker = Broker(identities)
    broker.start()
    yield broker
    broker.stop()


MakeSettings = Callable[..., Settings]


@pytest.fixture(name="settings")
def _settings(identities: Path, broker: Broker, tmp_path: Path) -> MakeSettings:
    """Settings of a device of the broker, with changes."""
    return partial(make_settings, identities, broker.port, tmp_path)


@pytest.fixture(name="scripted")
def _scripted(identities: Path) -> Iterator[ScriptedBroker]:
    """A broker that answers as the test decides."""
    with ScriptedBroker(identities) as broker:
        yield broker


@pytest.fixture(name="scripted_settings")
def _scripted_settings(identities: Path, scripted: ScriptedBroker, tmp_path: Path) -> MakeSettings:
    """Settings of a device of that broker, with changes; each reading is a publish of its own."""
    return partial(make_settings, identities, scripted.port, tmp_path, pack_bytes=0)


def make_settings(identities: Path, broker_port: int, folder: Path, **changes: object) -> Settings:
    """Settings of sensor-1, with changes."""
    certificate, key, ca = (identities / name for name in ("sensor-1.crt", "sensor-1.key", "ca.crt"))
    given = {"endpoint": "localhost", "thing": "sensor-1", "certificate": certificate, "key": key, "ca": ca,
             "port": broker_port, "interval": 0.1, "state_dir": folder / "state", "reconnect_max": 1.0}  # fmt: skip
    return Settings.make(given | changes)
