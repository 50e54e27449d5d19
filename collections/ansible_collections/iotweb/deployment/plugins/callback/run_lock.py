# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Releases the run lock that a task took, however the run ends."""

from __future__ import annotations

DOCUMENTATION = r"""
name: run_lock
type: aggregate
version_added: 2.0.0
short_description: Release a deployment's run lock at the end of the run
description:
  - Releases what the module M(iotweb.deployment.run_lock) took, when the run succeeds, fails, is interrupted or
    terminated.
  - A run that was killed releases nothing. The next one on the same machine takes its lock over.
requirements:
  - enabled in C(callbacks_enabled)
"""

import atexit
import os
import signal
from types import FrameType
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.template import Templar
from ansible_collections.iotweb.deployment.plugins.module_utils.run_lock import RUN, RunLock

MODULE = "iotweb.deployment.run_lock"
SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # Ansible makes SIGINT an exception, after which exit handlers run


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Lives in the process of ansible-playbook itself, which forks one for each task."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = MODULE
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        RUN["pid"] = os.getpid()
        self._play: Any = None
        self._held: dict[str, Any] | None = None
        self._environment: dict[str, str] = {}

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._play = play

    def v2_runner_on_ok(self, result: Any) -> None:
        """Note a lock that was taken, and as whom."""
        if result.task.action != MODULE or not result.result.get("id"):
            return
        import boto3  # noqa: F401, PLC0415 - takes time; here for the exit handler, where Python imports nothing

        manager = self._play.get_variable_manager()
        variables = manager.get_vars(play=self._play, host=result.host, task=result.task)
        templar = Templar(loader=self._play.get_loader(), variables=variables)
        for environment in result.task.environment or []:
            self._environment |= {name: str(value) for name, value in templar.template(environment).items()}
        arguments = templar.template(result.task.args)
        self._held = {"id": result.result["id"], "region": arguments["region"], "deployment": arguments["deployment"]}
        atexit.register(self._release)
        for number in SIGNALS:
            signal.signal(number, self._released_first(signal.getsignal(number)))

    def _released_first(self, handler: Any) -> Any:
        """Return a handler of a signal that releases the lock and then does what would have been done."""

        def handle(number: int, frame: FrameType | None) -> None:
            self._release()
            if callable(handler):
                handler(number, frame)
            else:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)

        return handle

    def _release(self) -> None:
        if self._held is None or os.getpid() != RUN["pid"]:
            return
        held, self._held = self._held, None
        os.environ.update(self._environment)
        try:
            RunLock(held["region"], held["deployment"]).release(held["id"])
        except Exception as error:  # noqa: BLE001 - whatever it is, the run's own result counts
            self._display.warning(
                f"The run lock could not be released: {error}. The next run on another machine needs"
                f" -e preflight_lock_broken={held['id']}"
            )
