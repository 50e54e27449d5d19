"""An empty emulator for one `ansible-playbook --check`: Terraform can plan, and nothing is kept.

It listens on a free port of 127.0.0.1 and ends with the playbook that started it, or after its lifetime.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Thread

LIFETIME_SECONDS = 3600.0
POLL_SECONDS = 1.0
PARENT = "ansible-playbook"
SYSTEM_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def start(serve: Callable[[Callable[[int], None]], None], remove: Path | None) -> int:
    """Run `serve` in a process of its own and print, as JSON, the environment that leads clients to it.

    `serve(ready)` calls `ready(port)` once it listens and goes on for good. `remove` is a folder that goes
    when this ends. Returns an exit status.
    """
    watched = playbook(os.getpid())
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        with os.fdopen(reader) as pipe:
            answer = pipe.read()
        sys.stdout.write(answer)
        return 0 if answer else 1
    os.close(reader)
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    folder = Path(tempfile.mkdtemp(prefix="iot-sandbox-aws-"))
    folders = [folder, remove] if remove else [folder]
    try:
        _detach(folder / "log")
        Thread(target=_end_with, args=(watched, folders), daemon=True).start()
        serve(lambda port: _tell(writer, environment(folder, port)))
    except BaseException:
        logging.exception("the emulator ended")
        raise
    finally:
        _remove(folders)
    return 0


def environment(folder: Path, port: int) -> dict[str, str]:
    """Write the AWS clients' configuration into the folder and return the variables that name it."""
    config, credentials, bundle = folder / "config", folder / "credentials", folder / "bundle.crt"
    config.write_text("[default]\n", encoding="utf-8")
    key = "aws_access_key_id = AKIAOPERATOROFTHEBOX\naws_secret_access_key = none\n"
    credentials.write_text(f"[default]\n{key}", encoding="utf-8")
    if SYSTEM_AUTHORITIES.exists():
        shutil.copy(SYSTEM_AUTHORITIES, bundle)
    endpoint = f"http://127.0.0.1:{port}"
    found = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_DYNAMODB": endpoint,
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
    }
    return found | ({"AWS_CA_BUNDLE": str(bundle)} if bundle.exists() else {})


def playbook(pid: int) -> tuple[int, str] | None:
    """Process id and start time of the ansible-playbook that a process descends from, not of its workers."""
    found = None
    while pid > 1:
        parent, started = _stat(pid)
        program = [Path(word.decode(errors="replace")).name for word in _read(pid, "cmdline").split(b"\0")[:2]]
        if PARENT in program:
            found = (pid, started)
        pid = parent
    return found


def _end_with(watched: tuple[int, str] | None, folders: Sequence[Path]) -> None:
    until = time.monotonic() + LIFETIME_SECONDS
    while time.monotonic() < until and (watched is None or _stat(watched[0])[1] == watched[1]):
        time.sleep(POLL_SECONDS)
    _remove(folders)
    os._exit(0)


def _remove(folders: Sequence[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _stat(pid: int) -> tuple[int, str]:
    """Parent and start time of a process, (0, "") if it is gone: proc(5)."""
    # The command's name stands in parentheses and may hold anything.
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    return (int(fields[1]), fields[19].decode()) if len(fields) > 19 and fields[0] != b"Z" else (0, "")


def _read(pid: int, name: str) -> bytes:
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""


def _detach(log: Path) -> None:
    """Detach from the caller's terminal and pipes, so that it need not wait for this process."""
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT, 0o600)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)


def _tell(writer: int, answer: Mapping[str, str]) -> None:
    with os.fdopen(writer, "w") as pipe:
        json.dump({"environment": answer}, pipe)
