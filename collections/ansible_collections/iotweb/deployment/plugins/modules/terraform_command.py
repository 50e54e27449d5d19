#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

# The action plugin of the same name does the work.
DOCUMENTATION = r"""
---
module: terraform_command
version_added: 2.0.0
short_description: Run a Terraform command and show its progress
description:
  - An apply on AWS takes a quarter of an hour, during which M(ansible.builtin.command) would print nothing.
  - The command outlives Ansible. When Ansible is interrupted or killed, Terraform finishes and stores its state.
    Asked to stop, it would abandon half-made resources, and the next run would have to replace them. The next run
    waits for Terraform's lock and continues from there.
author:
  - IoT receiver contributors (@iotweb)
options:
  announce:
    description: Text to show first.
    type: str
  arguments:
    description: Arguments of Terraform; the first is the command, which names the log.
    type: list
    elements: str
    required: true
  chdir:
    description: Folder to run it in. The log goes there, too.
    type: path
    required: true
  changed_codes:
    description: Exit codes that mean a change.
    type: list
    elements: int
    default: []
  executable:
    description: Terraform's program.
    type: str
    default: terraform
  other_codes:
    description: Further exit codes that are no failure.
    type: list
    elements: int
    default: []
  show:
    description: Regular expression of the lines to show as they come. By default none is.
    type: str
    default: (?!)
  timeout:
    description: Seconds after which it is killed, with exit code 124; 0 for no limit.
    type: int
    default: 0
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {description: There is no prediction., support: none}
  diff_mode: {description: Shows the plan that was made., support: full}
"""

EXAMPLES = r"""
- name: Plan the infrastructure
  iotweb.deployment.terraform_command:
    arguments: [plan, -detailed-exitcode, -out=plan.tfplan]
    chdir: /var/lib/deployment/terraform
    changed_codes: [2]
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
