# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a command that builds or pushes an image, and shows its progress: see modules/image_command.py."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

ARGUMENTS: dict[str, dict[str, Any]] = {
    "argv": {"type": "list", "elements": "str", "required": True},
    "chdir": {"type": "path", "default": "/"},
    "show": {"type": "str", "default": "(?!)"},  # regular expression of the lines to show as they come
}
KEPT = 40  # last lines, told when it fails


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Runs a command on the controller, under the task's `environment`."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Result: rc and stdout (all that it printed); changed in any case."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        ours: dict[str, Any] = {}
        self._compute_environment_string(ours)
        environment = {**os.environ, **{name: str(value) for name, value in ours.items()}}
        code, lines = follow(arguments["argv"], arguments["chdir"], environment, arguments["show"])
        result.update(rc=code, stdout="".join(lines), changed=True)
        if code:
            tail = "".join(lines[-KEPT:]).strip()
            result.update(failed=True, msg=f"{arguments['argv'][0]} ended with {code}:\n{tail}")
        return result


def follow(argv: list[str], chdir: str, environment: dict[str, str], show: str) -> tuple[int, list[str]]:
    """Run a command to its end; its lines are returned and, where they match, shown as they come.

    Should Ansible be interrupted, the command and all that it started end, too.

    :raises AnsibleActionFail: if it cannot be started.
    """
    display, wanted = Display(), re.compile(show)
    lines: list[str] = []
    try:
        process = subprocess.Popen(
            argv,
            cwd=chdir,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise AnsibleActionFail(f"{argv[0]} cannot be run: {error.strerror}") from error
    try:
        for line in process.stdout or ():
            lines.append(line)
            if wanted.search(line):
                display.display("  " + line.strip()[:150])
        return process.wait(), lines
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
