# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a Terraform command and shows its progress: see modules/terraform_command.py."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

ARGUMENTS: dict[str, dict[str, Any]] = {
    "announce": {"type": "str"},  # shown first
    "arguments": {"type": "list", "elements": "str", "required": True},  # of the terraform program
    "chdir": {"type": "path", "required": True},
    "changed_codes": {"type": "list", "elements": "int", "default": []},  # exit codes that mean a change
    "executable": {"type": "str", "default": "terraform"},
    "other_codes": {"type": "list", "elements": "int", "default": []},  # further exit codes without failure
    "show": {"type": "str", "default": "(?!)"},  # regular expression of the lines to show as they come
    "timeout": {"type": "int", "default": 0},  # seconds, 0: none; ends with exit code 124
}
TIMED_OUT = 124
POLL_SECONDS = 0.25


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Runs Terraform on the controller, under the task's `environment`."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Result: rc, stdout (what the command printed), changed, and a diff of the plan, if one was made."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        code, output = self._follow(arguments)
        result.update(
            rc=code,
            stdout=output,
            changed=code in arguments["changed_codes"],
            diff={"prepared": plan_of(output)},
        )
        result["failed"] = code not in {0, *arguments["changed_codes"], *arguments["other_codes"]}
        if result["failed"]:
            result["msg"] = failure(output, code)
        return result

    def _follow(self, arguments: dict[str, Any]) -> tuple[int, str]:
        display, wanted = Display(), re.compile(arguments["show"])
        log = Path(arguments["chdir"]) / f"{arguments['arguments'][0]}.log"
        if arguments["announce"]:
            display.display("  " + arguments["announce"])
        with log.open("wb") as sink, log.open(encoding="utf-8", errors="replace") as source:
            log.chmod(0o600)
            try:
                process = subprocess.Popen(
                    [arguments["executable"], *arguments["arguments"]],
                    cwd=arguments["chdir"],
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C does not reach it
                )
            except OSError as error:
                fault = f"{arguments['executable']} cannot be run: {error.strerror}"
                raise AnsibleActionFail(fault) from error
            deadline = time.monotonic() + arguments["timeout"] if arguments["timeout"] else None
            while True:
                ended = process.poll() is not None  # asked before reading, so that no last line is missed
                for line in source:
                    if wanted.search(line):
                        display.display("  " + line.strip(" #\n").replace("module.stack.", ""))
                if ended:
                    break
                if deadline and time.monotonic() > deadline:
                    process.send_signal(signal.SIGKILL)
                    return TIMED_OUT, log.read_text(encoding="utf-8", errors="replace")
                time.sleep(POLL_SECONDS)
        return process.returncode, log.read_text(encoding="utf-8", errors="replace")

    def _environment(self) -> dict[str, str]:
        """The controller's environment with the task's `environment`, as a module would have it."""
        ours: dict[str, Any] = {}
        self._compute_environment_string(ours)
        return {**os.environ, **{name: str(value) for name, value in ours.items()}, "TF_IN_AUTOMATION": "1"}


def plan_of(output: str) -> str:
    """The part of `terraform plan`'s output that says what will be done; empty if nothing will."""
    start = r"^Terraform will perform the following actions:$"
    found = re.search(start + r".*?(?=^─|\Z)", output, re.MULTILINE | re.DOTALL)
    return found[0].rstrip() + "\n" if found else ""


def failure(output: str, code: int) -> str:
    """What went wrong, in Terraform's words, with the fix where it is ours to give."""
    errors = re.search(r"^(?:│ )?Error: .*", output, re.MULTILINE | re.DOTALL)
    message = errors[0].strip() if errors else output.strip()[-2000:]
    lock = re.search(r"^\W*ID:\s+(\S+)", message, re.MULTILINE)
    if "Error acquiring the state lock" in message and lock:
        message += (
            "\n\nAnother run holds the state. If none does (it was killed together with its machine), "
            f"let go of it with `terraform force-unlock {lock[1]}` in terraform_workdir, then run again."
        )
    return message or f"Terraform ended with exit code {code}."
