"""Action await_programs: shows how far the compiler is until the programs asked for are there."""

import json
import sys
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.iotweb.aws_iot.plugins.plugin_utils.progress import Look, follow

SHOW_EVERY = 20  # seconds


class ActionModule(ActionBase):  # type: ignore[misc]  # ansible has no types
    """Waits in steps, each a call of the builder on the sandbox's machine, and prints a line after each."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset({"builder", "cache", "digest", "programs", "timeout"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return once all programs are ready; fail with the log's last lines when they never will be."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        timeout = int(self._task.args["timeout"])

        def look(passed: float) -> Look:
            seen = self._look(SHOW_EVERY if passed >= 1 else 0, task_vars)
            done = seen["state"] != "running" or passed >= timeout
            return Look([] if done else [seen["line"]], done, seen)

        seen: dict[str, Any] = follow(look, pause=1)
        if seen["state"] != "ready":
            return {**result, "failed": True, "msg": failure(seen)}
        return {**result, "changed": False}

    def _look(self, seconds: int, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        """Ask the builder about the programs, and let it wait that long for them."""
        args = self._task.args
        command = [sys.executable, "-m", "sandbox_build", "wait", f"--seconds={seconds}"]
        command += [f"--cache={args['cache']}", f"--digest={args['digest']}"]
        command += [f"--program={program}" for program in args["programs"]]
        answer = self._execute_module(
            module_name="ansible.legacy.command",
            module_args={"argv": command, "chdir": args["builder"]},
            task_vars=task_vars,
        )
        if answer.get("rc") != 0:
            message = answer.get("stderr") or answer.get("msg", "")
            return {"state": "failed", "message": message, "log_tail": []}
        seen: dict[str, Any] = json.loads(answer["stdout"])
        return seen


def failure(seen: dict[str, Any]) -> str:
    """Say why the programs are not there, what the compiler said, and where there is more."""
    if seen["state"] == "running":
        message = "The build takes longer than program_builds_timeout; it goes on in the background: run this again."
    else:
        message = seen["message"]
    more = [f"More: less {seen['log']}"] if "log" in seen else []
    return "\n".join([message, *seen["log_tail"], *more])
