# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sets facts whose names share a prefix: see modules/prefixed_facts.py."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

ARGUMENTS: dict[str, dict[str, Any]] = {
    "prefix": {"type": "str", "required": True},
    "values": {"type": "dict", "required": True},
}


class ActionModule(ActionBase):  # type: ignore[misc]  # Ansible has no types
    """Runs on the controller and connects to nothing."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the facts, which Ansible then sets."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)[1]
        facts = {f"{arguments['prefix']}{name}": value for name, value in arguments["values"].items()}
        return {**result, "changed": False, "ansible_facts": facts, "_ansible_facts_cacheable": False}
