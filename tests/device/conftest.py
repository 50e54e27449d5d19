"""A broker with mutual TLS on this machine, that refuses what a policy of IoT Core would refuse."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from iot_device.settings import Settings

TOPIC = "things/telemetry"
CONFIGURATION = """\
per_listener_settings false
listener {port} 127.0.0.1
cafile {folder}/ca.crt
certfile {folder}/broker.crt
keyfile {folder}/broker.key
require_certificate true
use_identity_as_username true
allow_anonymous false
acl_file {folder}/acl
persistence false
user root
"""


def issue(folder: Path, name: str, *options: str) -> None:
    """Make a key and a certificate `name` in the folder; options make it another's than its own."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    files = ["-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}"]
    subprocess.run(
        ["openssl", "req", "-x509", *key, *files, *options], cwd=folder, check=True, capture_output=True
    )


class Broker:
    """mosquitto, started and stopped at will on one port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "mosquitto.conf").write_text(CONFIGURATION.format(port=self.port, folder=folder))
        (folder / "acl").write_text(f"pattern readwrite {TOPIC}\n")

    def start(self) -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin") or ""
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(
            [program, "-v", "-c", str(self.folder / "mosquitto.conf")], stdout=log, stderr=log
        )
        until = time.monotonic() + 10
        while time.monotonic() < until and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@pytest.fixture(scope="session", name="identities")
def _identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a CA, the broker's certificate, a device's, and one of a stranger."""
    folder = tmp_path_factory.mktemp("identities")
    folder.chmod(0o755)
    ours = ["-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE"]
    issue(folder, "ca")
    issue(folder, "broker", *ours, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    issue(folder, "sensor-1", *ours)
    issue(folder, "stranger")
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
def _settings(identities: Path, broker: Broker) -> MakeSettings:
    """Settings of a device of the broker, with changes."""
    certificate, key, ca = (identities / name for name in ("sensor-1.crt", "sensor-1.key", "ca.crt"))

    def make(**changes: object) -> Settings:
        given = {"endpoint": "localhost", "thing": "sensor-1", "certificate": certificate, "key": key, "ca": ca,
                 "port": broker.port, "interval": 0.1}  # fmt: skip
        return Settings.make(given | changes)

    return make
