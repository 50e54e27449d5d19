# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waits for the redrive's Job and shows its progress: see modules/redrive_follow.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.iotweb.aws_iot.plugins.plugin_utils.progress import Look, follow

ARGUMENTS: dict[str, dict[str, Any]] = {
    "kubeconfig": {"type": "path", "required": True},
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "start_timeout": {"type": "int", "default": 300},  # seconds until its pod has to run
    "timeout": {"type": "int", "default": 3600},  # seconds until it has to be done
}
POLL_SECONDS = 1.0
COLUMNS = ("letters", "redriven", "already_stored", "rejected", "left")
# Columns that only a listing or a dropping has.
MORE = {"redrive_listed": ("storable",), "redrive_dropped": ("storable", "dropped")}
RESULTS = ("redrive_finished", *MORE)


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Runs on the controller; Kubernetes is asked by modules, under the task's `environment`."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Result: queues, problem, table (lines for people), changed."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        self._arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        self._task_vars = task_vars
        self._shown = 0  # events of the log
        finished = follow(self._look, POLL_SECONDS)
        queues: dict[str, dict[str, Any]] = finished.get("queues", {})
        result.update(
            queues=queues,
            problem=finished["problem"],
            table=[*table(queues, MORE.get(finished["event"], ())), *rejections(queues)],
            changed=any(changes(finished["event"], figures) for figures in queues.values()),
        )
        return result

    def _look(self, passed: float) -> Look:
        """Look at the Job after some seconds; the result is the event that it ended with."""
        state = self._job()
        pod = self._pod()
        lines = list(events(self._log(pod))) if pod and pod["status"]["phase"] != "Pending" else []
        new = lines[self._shown :]
        self._shown = len(lines)
        if not state and passed > self._arguments["start_timeout"] and not lines:
            raise AnsibleActionFail(f"The redrive did not start within {passed:.0f} s: {waits_for(pod)}")
        if not state and passed > self._arguments["timeout"]:
            raise AnsibleActionFail(f"The redrive has been running for {passed:.0f} s; run this again to follow it.")
        shown = [line for line in new if line["event"] == "redrive_progress" or line.get("level") == "error"]
        return Look([f"  {line['message']}" for line in shown], bool(state), outcome(lines, state))

    def _job(self) -> str:
        """How the Job has ended; empty while it has not."""
        found = self._asked("k8s_info", api_version="batch/v1", kind="Job", name=self._arguments["name"])
        if not found["resources"]:
            raise AnsibleActionFail("The redrive's Job was deleted by somebody; run this again.")
        conditions = found["resources"][0].get("status", {}).get("conditions", [])
        ends = [each for each in conditions if each["type"] in {"Complete", "Failed"} and each["status"] == "True"]
        return f"{ends[0]['type']} {ends[0].get('message', '')}".strip() if ends else ""

    def _pod(self) -> dict[str, Any] | None:
        selector = [f"batch.kubernetes.io/job-name={self._arguments['name']}"]
        found: list[dict[str, Any]] = self._asked("k8s_info", kind="Pod", label_selectors=selector)["resources"]
        return next(iter(found), None)

    def _log(self, pod: dict[str, Any]) -> str:
        return str(self._asked("k8s_log", name=pod["metadata"]["name"])["log"])

    def _asked(self, module: str, **arguments: Any) -> dict[str, Any]:
        place = {name: self._arguments[name] for name in ("kubeconfig", "namespace")}
        answer: dict[str, Any] = self._execute_module(
            module_name=f"kubernetes.core.{module}", module_args={**place, **arguments}, task_vars=self._task_vars
        )
        if answer.get("failed"):
            raise AnsibleActionFail(f"Kubernetes can't be asked about the redrive: {answer.get('msg')}")
        return answer


def events(log: str) -> Iterator[dict[str, Any]]:
    """The log's lines that are events."""
    for line in log.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            yield event


def outcome(lines: Sequence[dict[str, Any]], state: str) -> dict[str, Any]:
    """The Job's last event, or what Kubernetes says of a Job that wrote none."""
    for line in reversed(lines):
        if line["event"] in RESULTS:
            return dict(line)
    return {"event": "", "problem": f"the redrive was killed ({state})", "queues": {}}


def waits_for(pod: dict[str, Any] | None) -> str:
    """Why a pod does not run."""
    if pod is None:
        return "Kubernetes has made no pod for it."
    status = pod["status"]
    containers = [each.get("state", {}).get("waiting", {}) for each in status.get("containerStatuses", [])]
    said = [each.get("message") for each in [*containers, *status.get("conditions", [])] if each.get("message")]
    return "; ".join(said) or f"its pod is {status.get('phase')}."


def changes(event: str, figures: dict[str, Any]) -> bool:
    """Whether a queue's figures say that rows were stored or dead letters deleted."""
    if event == "redrive_finished":
        return bool(figures["redriven"] or figures["letters"] > figures["kept_letters"])
    return event == "redrive_dropped" and bool(figures["redriven"] or figures["dropped"])


def table(queues: dict[str, dict[str, Any]], more: Sequence[str] = ()) -> list[str]:
    """A line a queue."""
    columns = [*COLUMNS, *more]
    heads = [column.replace("_", " ") for column in columns]
    cells = [[name, *(str(figures[column]) for column in columns)] for name, figures in queues.items()]
    rows = [["queue", *heads], *cells]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def rejections(queues: dict[str, dict[str, Any]]) -> list[str]:
    """Why messages were rejected, of which devices, with an example of each, and which dead letters hold them."""
    lines = []
    for name, figures in queues.items():
        lines += [f"{name}, rejected: {number} x {reason}" for reason, number in figures["reasons"].items()]
        for kind in figures.get("kinds", []):
            of = f"{name}, {kind['device'] or 'unknown device'}"
            times = f"{kind['first']} to {kind['last']}"
            lines += [f"{of}: {kind['messages']} x {kind['reason']} ({times})", f"    {kind['payload']}"]
        if figures["kept"]:
            more = " ..." if figures["kept_letters"] > len(figures["kept"]) else ""
            lines.append(f"{name}, kept on the queue: {', '.join(figures['kept'])}{more}")
    return lines
