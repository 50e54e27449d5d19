#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

# The action plugin of the same name does the work.
DOCUMENTATION = r"""
---
module: image_command
version_added: 2.0.0
short_description: Run a command that builds or pushes an image, and show its progress
description:
  - A build takes a minute and more, during which M(ansible.builtin.command) would print nothing.
  - When Ansible is interrupted, the command and everything it started end as well.
author:
  - IoT receiver contributors (@iotweb)
options:
  argv:
    description: The program and its arguments.
    type: list
    elements: str
    required: true
  chdir:
    description: Folder to run it in.
    type: path
    default: /
  show:
    description: Regular expression of the lines to show as they come. By default none is.
    type: str
    default: (?!)
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {description: There is no prediction., support: none}
  diff_mode: {description: There is nothing to compare., support: none}
"""

EXAMPLES = r"""
- name: Build the image
  iotweb.deployment.image_command:
    argv: [docker, build, .]
    chdir: /srv/service
    show: ^(STEP|#)
"""

RETURN = r"""
rc:
  description: The command's exit code.
  type: int
  returned: always
stdout:
  description: Everything the command printed.
  type: str
  returned: always
"""
