"""Runs programs in forks of a Python that has imported what they need, as importing takes most of a short run's time.

The server is the one that Ansible's modules have: see plugin_utils/module_server.py of collection iotweb.deployment. A
Python that finds it in its environment (requirements/module_client.py) gives it the program on standard input; without
it, or where it cannot be reached, the same program runs in a Python of its own.
"""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT

SERVER = ROOT / "collections/ansible_collections/iotweb/deployment/plugins/plugin_utils/module_server.py"


@cache
def server(venv: Path, libraries: tuple[str, ...] = (), variables: tuple[tuple[str, str], ...] = ()) -> dict[str, str]:
    """Start a server, which ends with this process; what the environment of its programs needs.

    :param libraries: what it imports, else what Ansible's modules do; what these read from the environment then is
        fixed for all programs.
    :param variables: of its own environment, beside those of this process.
    """
    folder = Path(tempfile.mkdtemp(prefix="forks-"))
    atexit.register(shutil.rmtree, folder)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        process = subprocess.Popen(
            [venv / "bin/python", SERVER, str(listener.fileno()), *libraries], cwd=ROOT,
            env=environment | dict(variables), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
        )  # fmt: skip
    atexit.register(process.communicate)
    return {"IOTWEB_MODULE_SERVER": f"{venv}:{folder / 'socket'}"}
