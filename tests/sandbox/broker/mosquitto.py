"""A real mosquitto with the plugin, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from iot_sandbox.broker import table
from jinja2 import Template

from tests.support.certificates import Authority
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.waiting import until

PLUGIN = ROOT / "sandbox/iot_sandbox/broker/plugin"
CONFIGURATION = ROOT / "sandbox/roles/mqtt_broker/templates/mosquitto.conf.j2"
PREFIX = "arn:aws:iot:us-east-2:123456789012:"
MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])


class Broker:
    """A mosquitto of the test's own."""

    def __init__(self, folder: Path, plugin: Path, authority: Authority) -> None:
        self.folder, self.authority = folder, authority
        self.socket = folder / "rules.sock"
        self.log = folder / "log"
        self.port = free_port()
        server = authority.issue("server")
        shutil.copy(server.certificate, folder / "server.crt")
        shutil.copy(server.key, folder / "server.key")
        variables = {
            "mqtt_broker_plugin": plugin,
            "mqtt_broker_state_dir": folder,
            "mqtt_broker_address": "127.0.0.1",
            "mqtt_broker_port": self.port,
            "mqtt_broker_authority": authority.certificate.with_suffix(""),
            "mqtt_broker_table": folder / "policies",
            "mqtt_broker_queue_mib": 10,
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
            self.process = subprocess.Popen([MOSQUITTO, "-c", self.folder / "mosquitto.conf"], stdout=log, stderr=log)
        until(self._listens, otherwise=f"mosquitto does not listen: {self.log.read_text()}")

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(10) == 0, self.log.read_text()


