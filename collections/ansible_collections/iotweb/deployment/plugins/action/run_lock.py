# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Takes a deployment's run lock, and waits for it: see modules/run_lock.py. Callback run_lock releases it."""

from __future__ import annotations

import os
from typing import Any

from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.iotweb.aws_iot.plugins.plugin_utils.progress import Look, environment_of, follow
from ansible_collections.iotweb.deployment.plugins.module_utils.run_lock import RUN, RunLock, described, record

try:
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:  # RunLock reports it
    BotoCoreError = ClientError = OSError

ARGUMENTS: dict[str, dict[str, Any]] = {
    "deployment": {"type": "str", "required": True},
    "region": {"type": "str", "required": True},
    "caller": {"type": "str", "default": ""},
    "broken": {"type": "str", "default": ""},  # id of a lock to remove first
    "timeout": {"type": "int", "default": 600},  # seconds
}
POLL_SECONDS = 2.0
REMINDER_SECONDS = 60.0


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Runs on the controller, under the task's `environment`."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Result: id (of the lock), waited (whether another run held it meanwhile)."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        result.update(changed=False, id="", waited=False)
        if self._task.check_mode:
            return result
        if not RUN["pid"]:
            raise AnsibleActionFail(
                "Nothing would release the run lock: add iotweb.deployment.run_lock to callbacks_enabled (ansible.cfg,"
                " or ANSIBLE_CALLBACKS_ENABLED), as this repository's ansible.cfg does."
            )
        os.environ.update(environment_of(self))  # of the process that runs this task alone
        try:
            result.update(self._taken())
        except (BotoCoreError, ClientError) as error:
            raise AnsibleActionFail(
                f"The run lock cannot be taken: {error}. It needs ssm:PutParameter, ssm:GetParameter,"
                " ssm:DeleteParameter and ssm:AddTagsToResource; without, set preflight_lock_enabled: false and never"
                " run two at once."
            ) from error
        return result

    def _taken(self) -> dict[str, Any]:
        lock = RunLock(self._arguments["region"], self._arguments["deployment"])
        if self._arguments["broken"]:
            lock.release(self._arguments["broken"])
        mine = record(self._arguments["caller"], " ".join(context.CLIARGS.get("args", ())))
        self._reminded = -REMINDER_SECONDS
        self._waited = False

        def look(passed: float) -> Look:
            holder = lock.take(mine)
            if holder is None:
                return Look(done=True)
            self._waited = True
            if passed >= self._arguments["timeout"]:
                raise AnsibleActionFail(self._refusal(holder))
            if passed - self._reminded < REMINDER_SECONDS:
                return Look()
            self._reminded = passed
            return Look([f"  Waiting for another run of {self._arguments['deployment']}: {described(holder)}"])

        follow(look, POLL_SECONDS)
        return {"id": mine["id"], "waited": self._waited}

    def _refusal(self, holder: dict[str, Any]) -> str:
        return (
            f"Another run works on {self._arguments['deployment']}: {described(holder)}. Nothing was changed. Run this"
            " again once it has ended. If it died together with its machine, break its lock: run this again with"
            f" -e preflight_lock_broken={holder['id']}"
        )
