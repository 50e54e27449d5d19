#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: image_builder
version_added: 2.0.0
short_description: Find a program that builds images
description:
  - Asks each for its state, since docker's client may be there without its daemon.
author:
  - IoT receiver contributors (@iotweb)
options:
  programs:
    description: Programs by name or path, the preferred one first.
    type: list
    elements: str
    default: [docker, podman, buildah]
  options:
    description: Options of the program itself, as it will be used.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
"""

EXAMPLES = r"""
- name: Choose a builder
  iotweb.deployment.image_builder:
"""

RETURN = r"""
program:
  description: The program as it was given.
  type: str
  returned: success
kind:
  description: docker, podman or buildah.
  type: str
  returned: success
"""

import shutil
import subprocess

from ansible.module_utils.basic import AnsibleModule


def fault(program: str, options: list[str]) -> str:
    """Why a program cannot build here; empty if it can."""
    path = shutil.which(program)
    if path is None:
        return f"{program} is not installed"
    try:
        answer = subprocess.run([path, *options, "info"], capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{program} does not answer ({error})"
    # docker's client answers 0 when its daemon does not run; it then says ERROR.
    words = [line.strip() for line in answer.stderr.splitlines() if line.strip()]
    if answer.returncode or any(line.startswith("ERROR:") for line in words):
        return f"{program} does not work here ({words[-1] if words else answer.returncode})"
    # Without this plugin, docker knows no --secret.
    if program.rpartition("/")[2] == "docker":
        plugin = subprocess.run([path, *options, "buildx", "version"], capture_output=True, check=False, timeout=30)
        if plugin.returncode:
            return f"{program} has no buildx"
    return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "programs": {"type": "list", "elements": "str", "default": ["docker", "podman", "buildah"]},
            "options": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    faults = []
    for program in module.params["programs"]:
        if not (wrong := fault(program, module.params["options"])):
            kind = program.rpartition("/")[2]
            module.exit_json(changed=False, program=program, kind=kind)
        faults.append(wrong)
    module.fail_json(
        msg=f"No program here can build the image: {'; '.join(faults)}. "
        "Start docker, or install its plugin buildx (Debian: docker-buildx), podman or buildah, or name a builder by "
        "receiver_image_builder."
    )


if __name__ == "__main__":
    main()
