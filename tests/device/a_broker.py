"""A broker with mutual TLS on this machine, that refuses what a policy of IoT Core would refuse."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

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


def issue(folder: Path, name: str, *options: str) -> None:
    """Make a key and a certificate `name` in the folder; options make it another's than its own."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    files = ["-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}"]
    subprocess.run(["openssl", "req", "-x509", *key, *files, *options], cwd=folder, check=True, capture_output=True)


class Broker:
    """mosquitto, started and stopped at will on one port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
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
