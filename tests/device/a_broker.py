"""A broker with mutual TLS on this machine that refuses what IoT Core's policy would refuse."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.support.ports import free_port

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
persistence true
persistence_location {folder}/
max_queued_messages 100000
user root
"""


class Broker:
    """mosquitto, started and stopped at will on one port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "mosquitto.conf").write_text(CONFIGURATION.format(port=self.port, folder=folder))
        (folder / "mosquitto.db").unlink(missing_ok=True)
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
