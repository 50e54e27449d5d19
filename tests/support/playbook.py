"""Runs ansible-playbook in forks of a process that has imported it: importing it takes half of a short run's time.

Where plugins are looked for is fixed when the server starts: `env` may not set ANSIBLE_LIBRARY or other paths of them.
The server is the one that modules have: see plugin_utils/module_server.py of collection iotweb.deployment. Without it,
or where it cannot be reached, the same program runs in a Python of its own.
"""

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

PYTHON = ROOT / ".venv/bin/python"
PROGRAM = """\
import importlib, sys
from ansible import constants
from ansible.cli.playbook import main
importlib.reload(constants)  # the server has read them for itself
sys.argv = {arguments!r}
main()
"""
SERVER = """\
import socket, sys
sys.path.insert(0, sys.argv.pop(1))
import module_server
module_server.Server(socket.socket(fileno=int(sys.argv.pop())), ["ansible.cli.playbook"]).serve()
"""
PLUGIN_UTILS = ROOT / "collections/ansible_collections/iotweb/deployment/plugins/plugin_utils"


@cache
def server() -> str:
    """Start the server, which ends with this process; what a client's environment names it by."""
    folder = Path(tempfile.mkdtemp(prefix="playbook-"))
    atexit.register(shutil.rmtree, folder)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(folder / "socket"))
        listener.listen()
        process = subprocess.Popen([PYTHON, "-c", SERVER, PLUGIN_UTILS, str(listener.fileno())], cwd=ROOT,
                                   env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                   pass_fds=[listener.fileno()])  # fmt: skip
    atexit.register(process.communicate)
    return f"{ROOT / '.venv'}:{folder / 'socket'}"


def run(*arguments: str, env: Mapping[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook in the root to its end, as `subprocess.run` would."""
    program = PROGRAM.format(arguments=["ansible-playbook", *arguments])
    return subprocess.run([PYTHON], input=program, env={**env, "IOTWEB_MODULE_SERVER": server()}, cwd=ROOT, text=True,
                          check=False, **options)  # fmt: skip
