#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

# The action plugin of the same name does the work.
DOCUMENTATION = r"""
---
module: run_lock
version_added: 2.0.0
short_description: Keep two runs of one deployment apart
description:
  - Takes the lock of a deployment in one account and region, for all machines, and waits while another run holds it.
  - The lock is the parameter C(/iot-deployment/<deployment>/run-lock) of AWS Systems Manager.
  - The callback plugin P(iotweb.deployment.run_lock#callback) releases it at the run's end, and must be enabled.
  - The lock of a run that was killed on the same machine is taken over. One of another machine is broken by its id.
author:
  - IoT receiver contributors (@iotweb)
options:
  deployment:
    description: Name of the deployment.
    type: str
    required: true
  region:
    description: Region of the deployment.
    type: str
    required: true
  caller:
    description: Who acts, which other runs are shown.
    type: str
    default: ""
  broken:
    description: Id of a lock to remove first. One of another id stays.
    type: str
    default: ""
  timeout:
    description: Longest wait for another run, in seconds.
    type: int
    default: 600
notes:
  - The caller needs the permissions C(ssm:AddTagsToResource), C(ssm:DeleteParameter), C(ssm:GetParameter),
    C(ssm:PutParameter).
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {description: Takes no lock., support: full}
  diff_mode: {description: There is nothing to compare., support: none}
"""

EXAMPLES = r"""
- name: Keep other runs out
  iotweb.deployment.run_lock:
    deployment: iot-receiver
    region: us-east-2
"""

RETURN = r"""
id:
  description: The lock's id; empty in check mode.
  type: str
  returned: always
waited:
  description: Whether another run held the lock meanwhile.
  type: bool
  returned: always
"""
