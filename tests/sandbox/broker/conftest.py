"""A real mosquitto with the plugin on a free port of 127.0.0.1, and certificates of a CA of its own."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from iot_sandbox.broker import table
from jinja2 import Template

ROOT = Path(__file__).parents[3]
PLUGIN = ROOT / "sandbox/iot_sandbox/broker/plugin"
CONFIGURATION = ROOT / "sandbox/roles/broker/templates/mosquitto.conf.j2"
PREFIX = "arn:aws:iot:us-east-2:123456789012:"
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])


@dataclass
class Identity:
    """A certificate with its key as files, and its id as AWS names it."""

    id: str
    certificate: Path
    key: Path


class Authority:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self._sign("ca", self._name, self._key, constraints, None)
        self.certificate = folder / "ca.crt"

    def issue(self, name: str, common_name: str = "AWS IoT Certificate") -> Identity:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        alternatives = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        key = ec.generate_private_key(ec.SECP256R1())
        return self._sign(name, subject, key, x509.BasicConstraints(ca=False, path_length=None), alternatives)

    def _sign(
        self,
        name: str,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        constraints: x509.BasicConstraints,
        alternatives: x509.SubjectAlternativeName | None,
    ) -> Identity:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(constraints, critical=True)
        )
        if alternatives:
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(pem))
        files[1].write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return Identity(certificate.fingerprint(hashes.SHA256()).hex(), *files)


class Broker:
    """A mosquitto of the test's own."""

    def __init__(self, folder: Path, plugin: Path, authority: Authority) -> None:
        self.folder, self.authority = folder, authority
        self.socket = folder / "rules.sock"
        self.log = folder / "log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        server = authority.issue("server")
        shutil.copy(server.certificate, folder / "server.crt")
        shutil.copy(server.key, folder / "server.key")
        variables = {
            "ansible_managed": "test",
            "broker_plugin": plugin,
            "broker_state_dir": folder,
            "broker_address": "127.0.0.1",
            "broker_port": self.port,
            "broker_ca_certificate": authority.certificate,
            "broker_queue_bytes": 10_000_000,
        }
        (folder / "mosquitto.conf").write_text(Template(CONFIGURATION.read_text()).render(variables))
        self.set_policies([])
        self.start()

    def set_policies(self, certificates: list[table.Certificate]) -> None:
        """Puts a table in place; the broker follows it within a second."""
        table.write(self.folder / "policies", table.render(certificates, PREFIX))

    def start(self) -> None:
        assert MOSQUITTO
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [MOSQUITTO, "-c", self.folder / "mosquitto.conf"], stdout=log, stderr=log
            )
        wait_for(self._listens, f"mosquitto does not listen: {self.log.read_text()}")

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0, self.log.read_text()


def wait_for(condition: Callable[[], bool], otherwise: str, seconds: float = 10) -> None:
    """Waits until the condition holds; fails the test with ``otherwise`` after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.02)


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
