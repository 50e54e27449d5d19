#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: preflight_tools
version_added: 2.0.0
short_description: Find programs and Python libraries that are missing or too old
description:
  - Changes nothing, and never fails for what it finds. Each fault is returned with its fix.
author:
  - IoT receiver contributors (@iotweb)
options:
  programs:
    description: Programs that must be found. V(a|b) is satisfied by either.
    type: list
    elements: str
    required: true
  minimums:
    description: Oldest version of a program that will do, such as V(1.9).
    type: dict
    default: {}
  below:
    description: First version of a program that will not do, such as V(4).
    type: dict
    default: {}
  needs:
    description: Arguments with which a program must succeed, or it counts as one that is missing.
    type: dict
    default: {}
  fixes:
    description: What to do about a program that is missing, too old or too new.
    type: dict
    default: {}
  libraries:
    description: Python modules that the interpreter must have.
    type: list
    elements: str
    default: []
  libraries_fix:
    description: What to do about missing Python modules.
    type: str
    default: Install them.
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
"""

EXAMPLES = r"""
- name: Check the tools
  iotweb.deployment.preflight_tools:
    programs: [terraform, docker|podman|buildah]
    minimums: {terraform: "1.9"}
    needs: {docker: [buildx, version]}
    fixes: {terraform: "Install it from https://developer.hashicorp.com/terraform/install."}
    libraries: [boto3]
"""

RETURN = r"""
faults:
  description: One sentence for each fault, with its fix.
  type: list
  elements: str
  returned: always
machine:
  description: This machine's processors, as C(uname -m) names them.
  type: str
  returned: always
"""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# Programs differ in how they are asked for their version; the first that answers with one counts.
QUESTIONS = (["version"], ["--version"])


def answer(program: str, arguments: list[str]) -> subprocess.CompletedProcess[str] | None:
    """How a program answers; None if it does not."""
    # Terraform would ask the network for a newer one.
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1"}
    try:
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30, check=False,
                              stdin=subprocess.DEVNULL, env=environment)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None


def version_of(program: str) -> str:
    """The version a program prints, such as 1.11.4; empty if it prints none."""
    for question in QUESTIONS:
        answered = answer(program, question)
        if answered is None:
            return ""
        found = re.search(r"v?(\d+\.\d+(?:\.\d+)?)", answered.stdout)
        if found:
            return found[1]
    return ""


def numbers(version: str) -> list[int]:
    """A version for comparison: 1.9 -> [1, 9]."""
    return [int(part) for part in version.split(".")]


def lacks(name: str, arguments: list[str]) -> bool:
    """Whether a program does not do what it is needed for."""
    answered = answer(name, arguments)
    return answered is None or answered.returncode != 0


def program_fault(names: str, wanted: dict[str, Any]) -> str | None:
    """What is wrong with a program (or with each of several that would do), and the fix."""
    candidates, needs = names.split("|"), wanted["needs"]
    present = [name for name in candidates if shutil.which(name)]
    found = [name for name in present if name not in needs or not lacks(name, needs[name])]
    fix = wanted["fixes"].get(names, "Install it, or remove it from preflight_tools if nothing of yours needs it.")
    if not present:
        return f"{' or '.join(candidates)} is not on this machine's PATH. {fix}"
    if not found:
        return f"{' and '.join(f'{name} does not know {needs[name][0]}' for name in present)}. {fix}"
    for name in found:
        minimum, below = wanted["minimums"].get(name), wanted["below"].get(name)
        version = version_of(name) if minimum or below else ""
        if minimum and (not version or numbers(version) < numbers(minimum)):
            return f"{name} {minimum} or newer is needed; {version or 'an unknown version'} was found. {fix}"
        if below and version and numbers(version) >= numbers(below):
            return f"{name} older than {below} is needed; {version} was found. {fix}"
    return None


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "programs": {"type": "list", "elements": "str", "required": True},
            "minimums": {"type": "dict", "default": {}},
            "below": {"type": "dict", "default": {}},
            "needs": {"type": "dict", "default": {}},
            "fixes": {"type": "dict", "default": {}},
            "libraries": {"type": "list", "elements": "str", "default": []},
            "libraries_fix": {"type": "str", "default": "Install them."},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    faults = [program_fault(names, wanted) for names in wanted["programs"]]
    missing = [name for name in wanted["libraries"] if importlib.util.find_spec(name) is None]
    if missing:
        faults.append(f"{sys.executable} lacks {', '.join(missing)}. {wanted['libraries_fix']}")
    module.exit_json(changed=False, faults=[fault for fault in faults if fault], machine=platform.machine())


if __name__ == "__main__":
    main()
