# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a Terraform command and shows its progress: see modules/terraform_command.py."""

from __future__ import annotations

import fcntl
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.iotweb.aws_iot.plugins.plugin_utils.progress import TIMED_OUT, Command, environment_of

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


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Runs Terraform on the controller, under the task's `environment`."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Result: rc, stdout (what the command printed), changed, and a diff of the plan, if one was made."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        # Other commands wait for the state.
        with alone(Path(arguments["chdir"])) if arguments["arguments"][0] == "init" else nullcontext():
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
        log = Path(arguments["chdir"]) / f"{arguments['arguments'][0]}.log"
        running = log.with_suffix(".running")
        if arguments["announce"]:
            Display().display("  " + arguments["announce"])
        running.touch(mode=0o600)
        try:
            command = Command(
                [arguments["executable"], *arguments["arguments"]], arguments["chdir"],
                environment_of(self) | {"TF_IN_AUTOMATION": "1"}, log=log, show=arguments["show"], shorten=shorten,
            )  # fmt: skip
        except AnsibleActionFail:
            running.unlink()
            raise
        code, output = command.followed(arguments["timeout"])
        if code != TIMED_OUT:
            running.unlink(missing_ok=True)
        return code, output


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Wait until no other run initialises the folder: two at once would fail, or take each other's providers away."""
    with (folder / "init.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def shorten(line: str) -> str:
    """A line of Terraform's without what is the same in all."""
    return line.strip(" #\n").replace("module.stack.", "")


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
