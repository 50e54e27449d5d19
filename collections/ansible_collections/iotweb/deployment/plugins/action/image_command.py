# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a command that builds or pushes an image, and shows its progress: see modules/image_command.py."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.iotweb.aws_iot.plugins.plugin_utils.progress import Command, environment_of

ARGUMENTS: dict[str, dict[str, Any]] = {
    "argv": {"type": "list", "elements": "str", "required": True},
    "chdir": {"type": "path", "default": "/"},
    "show": {"type": "str", "default": "(?!)"},
}
KEPT = 40  # last lines, which a failure shows


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Runs a command on the controller, under the task's `environment`."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return rc and stdout; changed in any case."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        argv: list[str] = arguments["argv"]
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            command = Command(argv, arguments["chdir"], environment_of(self), log=log, show=arguments["show"],
                              shorten=shorten)  # fmt: skip
            try:
                code, output = command.followed()
            finally:
                command.stop()  # where Ansible is interrupted
        result.update(rc=code, stdout=output, changed=True)
        if code:
            tail = "".join(output.splitlines(keepends=True)[-KEPT:]).strip()
            result.update(failed=True, msg=f"{argv[0]} ended with {code}:\n{tail}")
        return result


def shorten(line: str) -> str:
    """What fits on a line of a terminal."""
    return line.strip()[:150]
