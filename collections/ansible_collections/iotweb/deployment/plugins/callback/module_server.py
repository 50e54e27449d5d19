# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts the Python that modules on this machine run in."""

from __future__ import annotations

DOCUMENTATION = r"""
name: module_server
type: aggregate
version_added: 2.0.0
short_description: Import the libraries of modules once a run, not once a module
description:
  - Each module that runs on the machine of ansible-playbook starts a Python, which imports Ansible's libraries and
    AWS's anew. That takes longer than what most modules do.
  - This starts one Python that imports them, and forks for each module. It ends with the run.
  - A run that finds one in its environment uses that one.
  - Modules on other hosts, with another Python or as another user run as ever.
requirements:
  - enabled in C(callbacks_enabled)
  - C(make setup), which puts C(requirements/module_client.py) into the environment of Ansible
"""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible_collections.iotweb.deployment.plugins.plugin_utils import module_server

VARIABLE = "IOTWEB_MODULE_SERVER"  # read by the client


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Holds the pipe whose end ends the server."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "iotweb.deployment.module_server"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._server: subprocess.Popen[bytes] | None = None

    def v2_playbook_on_start(self, playbook: Any) -> None:
        if "module_client" not in sys.modules or VARIABLE in os.environ:
            return
        path = Path(constants.DEFAULT_LOCAL_TMP) / "modules"  # in a folder that is this user's alone
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            try:
                listener.bind(str(path))
            except OSError as error:  # a path can be too long for a socket
                self._display.vvv(f"Each module imports its libraries: {error}")
                return
            listener.listen(socket.SOMAXCONN)
            command = [sys.executable, module_server.__file__, str(listener.fileno())]
            # Ansible detaches its workers from the terminal, too: Ctrl-C ends a module through its worker.
            self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                            pass_fds=[listener.fileno()], start_new_session=True)  # fmt: skip
        os.environ[VARIABLE] = f"{sys.prefix}:{path}"
