"""The running HAProxy, controlled through its master's socket, and its files."""

from __future__ import annotations

import logging
import re
import socket
import subprocess
import time
from pathlib import Path

from . import slots
from .render import Configuration

log = logging.getLogger(__name__)


class HAProxyError(Exception):
    """HAProxy refused a configuration or a command, or does not answer."""


class HAProxy:
    """A HAProxy in master-worker mode: ``haproxy -W -db -S <folder>/master.sock -f <folder>/haproxy.cfg``."""

    def __init__(self, folder: Path, binary: str = "haproxy") -> None:
        self.folder = folder
        self._binary = binary
        self._master = folder / "master.sock"

    @property
    def file(self) -> Path:
        """The configuration that HAProxy starts with."""
        return self.folder / "haproxy.cfg"

    def write(self, configuration: Configuration) -> bool:
        """Write the files if they differ, and return whether they did.

        :raises HAProxyError: if HAProxy finds the configuration invalid; the old one stays.
        """
        if self.file.is_file() and self.file.read_text() == configuration.text:
            return False
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in configuration.files.items():
            _replace(self.folder / name, content)
        candidate = self.folder / "haproxy.cfg.new"
        _replace(candidate, configuration.text.encode())
        check = subprocess.run(
            [self._binary, "-c", "-q", "-f", candidate], capture_output=True, text=True, check=False
        )
        if check.returncode:
            raise HAProxyError(f"{candidate} is refused:\n{check.stderr.strip()}")
        candidate.replace(self.file)
        for file in self.folder.glob("*.body"):
            if file.name not in configuration.files:
                file.unlink()
        return True

    def workers(self) -> list[int]:
        """Process ids of the workers, the one that accepts connections first; none: HAProxy does not run."""
        try:
            answer = self._ask("show proc")
        except OSError:
            return []
        return [int(pid) for pid in re.findall(r"^(\d+)\s+worker\s", answer, re.MULTILINE)]

    def digest(self, worker: int) -> str:
        """The digest of the configuration that a worker runs."""
        found = re.search(r"^description: (\S+)", self.ask(worker, "show info"), re.MULTILINE)
        return found[1] if found else ""

    def slots(self, worker: int) -> dict[str, list[slots.Slot]]:
        """A worker's servers, by backend."""
        return slots.parse(self.ask(worker, "show servers state"))

    def ask(self, worker: int, command: str) -> str:
        """A worker's answer to a runtime command.

        :raises HAProxyError: if the worker does not answer.
        """
        try:
            return self._ask(f"@!{worker} {command}")
        except OSError as error:
            raise HAProxyError(f"worker {worker} does not answer {command!r}: {error}") from error

    def reload(self, digest: str, timeout: float = 20) -> None:
        """Have a new worker take over the sockets with the configuration of ``digest``.

        :raises HAProxyError: if it does not within ``timeout`` seconds; the old worker then serves on.
        """
        try:
            before = self.workers()
            failed = self._failures()
            self._ask("reload")
        except OSError as error:
            raise HAProxyError(f"HAProxy's master does not answer: {error}") from error
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            time.sleep(0.05)
            try:
                workers = self.workers()
                if workers and workers[0] not in before and self.digest(workers[0]) == digest:
                    return
                if self._failures() > failed:
                    break
            except (OSError, HAProxyError):
                continue  # the master restarts itself while it reloads
        raise HAProxyError(f"HAProxy did not load {self.file}: see its own log")

    def _failures(self) -> int:
        found = re.search(r"\[failed: (\d+)\]", self._ask("show proc"))
        return int(found[1]) if found else 0

    def _ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self._master))
            connection.sendall(command.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        return answer.decode()


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(f".{path.name}.part")
    new.write_bytes(content)
    new.replace(path)
