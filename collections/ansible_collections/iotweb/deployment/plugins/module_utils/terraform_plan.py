# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A saved plan of Terraform, as modules read it (https://developer.hashicorp.com/terraform/internals/json-format)."""

import json
import subprocess
from typing import Any

from ansible.module_utils.basic import AnsibleModule

Values = dict[str, Any]
PLAN_OPTIONS: Values = {
    "chdir": {"type": "path", "required": True},
    "executable": {"type": "str", "default": "terraform"},
    "plan": {"type": "str", "required": True},
    "region": {"type": "str", "required": True},
}


def read_plan(module: AnsibleModule) -> Values:
    """The plan that a module with PLAN_OPTIONS names; the module fails where Terraform can't read it."""
    wanted = module.params
    shown = subprocess.run(
        [wanted["executable"], "show", "-json", wanted["plan"]],
        cwd=wanted["chdir"],
        capture_output=True,
        text=True,
        check=False,
    )
    if shown.returncode != 0:
        module.fail_json(msg=f"The plan cannot be read: {shown.stderr}")
    plan: Values = json.loads(shown.stdout)
    return plan


def changes(plan: Values, kind: str, action: str) -> list[Values]:
    """What changes in the resources of a type that an action (create, delete, update) applies to."""
    return [
        each["change"]
        for each in plan.get("resource_changes", [])
        if each["type"] == kind and each.get("mode", "managed") == "managed" and action in each["change"]["actions"]
    ]
