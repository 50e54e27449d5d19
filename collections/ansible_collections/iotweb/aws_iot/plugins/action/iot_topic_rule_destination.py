# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shows a destination's status while the module waits: it runs the module for a slice of the time, again and again."""

from __future__ import annotations

import math
import time
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.iotweb.aws_iot.plugins.plugin_utils.progress import Look, follow

SLICE = 10  # seconds
Result = dict[str, Any]


def whole_wait(arguments: dict[str, Any]) -> int:
    """Return how long the task may wait, in seconds; 0 where it does not wait or the module must refuse the value."""
    try:
        wait = boolean(arguments.get("wait", True))
        return int(arguments.get("wait_timeout", 120)) if wait else 0
    except (TypeError, ValueError):
        return 0


def joined(results: list[tuple[float, Result]]) -> Result:
    """Return the result of all slices, each given with its start in seconds: before is the first one's."""
    parts = [part for start, part in results]
    result = dict(parts[-1])
    result["changed"] = any(part.get("changed", False) for part in parts)
    diffs = [part["diff"] for part in parts if "diff" in part]
    if len(parts) > 1 and diffs:
        before = parts[0].get("before", diffs[0]["before"])
        result["diff"] = {"before": before, "after": diffs[-1]["after"]}
        result["changed"] = result["changed"] or before != diffs[-1]["after"]
    seen: list[dict[str, Any]] = []
    for start, part in results:
        for status in part.get("progress", []):
            if not seen or seen[-1]["status"] != status["status"]:
                seen.append({**status, "after": round(status["after"] + start, 1)})
    return {**result, "progress": seen} if seen else result


class ActionModule(ActionBase):  # type: ignore[misc] # a class without types: Ansible ships none
    """The task, on the controller. Without a long wait it is the module's alone, as without this plugin."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: Any = None) -> Result:
        """Return the module's result."""
        result: Result = super().run(tmp, task_vars)
        wait = whole_wait(self._task.args)
        in_background = bool(self._task.async_val) and not self._connection.has_native_async
        if wait <= SLICE or self._task.check_mode or self._task.async_val:
            return {**result, **self._execute_module(task_vars=task_vars, wrap_async=in_background)}
        return {**result, **self.watched(wait, task_vars)}

    def watched(self, wait: int, task_vars: Any) -> Result:
        """Run the module for slices of the wait, in seconds, until it is done or the wait is over."""
        began, arguments = time.monotonic(), dict(self._task.args)
        parts: list[tuple[float, Result]] = []

        def look(passed: float) -> Look:
            arguments["wait_timeout"] = max(min(SLICE, math.ceil(wait - passed)), 1)
            part = self._execute_module(module_args=arguments, task_vars=task_vars)
            parts.append((passed, part))
            waited = time.monotonic() - began
            if not part.get("timed_out") or waited >= wait:
                return Look(done=True, result=joined(parts))
            arguments.pop("confirmation_token", None)  # AWS has had it
            return Look([self.status(part, waited, wait)])

        result: Result = follow(look, pause=0)
        return result

    def status(self, part: Result, waited: float, wait: int) -> str:
        destination = part.get("destination") or {}
        url = destination.get("confirmation_url") or self._task.args.get("confirmation_url")
        reason = f" ({destination['status_reason']})" if destination.get("status_reason") else ""
        status = destination.get("status", "not there yet")
        return f"Destination {url} is {status} after {waited:.0f} of {wait} s{reason}"
