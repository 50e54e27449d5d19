#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

# The action plugin of the same name does the work.
DOCUMENTATION = r"""
---
module: redrive_follow
version_added: 2.0.0
short_description: Wait for the redrive's Job and show its progress
description:
  - Many dead letters take minutes, during which a module that waits would print nothing.
  - The Job continues when Ansible is interrupted; the next run follows it again.
author:
  - IoT receiver contributors (@iotweb)
options:
  kubeconfig:
    description: File with the cluster's address and credentials.
    type: path
    required: true
  name:
    description: Name of the Job.
    type: str
    required: true
  namespace:
    description: Namespace of the Job.
    type: str
    required: true
  start_timeout:
    description: Longest wait for its pod to run, in seconds.
    type: int
    default: 300
  timeout:
    description: Longest wait for its end, in seconds.
    type: int
    default: 3600
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {description: There is no prediction., support: none}
  diff_mode: {description: There is nothing to compare., support: none}
"""

EXAMPLES = r"""
- name: Wait for the redrive
  iotweb.deployment.redrive_follow:
    kubeconfig: ~/.kube/config
    name: iot-receiver-redrive
    namespace: apps
"""

RETURN = r"""
problem:
  description: Why the redrive failed; empty when it did not.
  type: str
  returned: always
queues:
  description: The redrive's figures by queue.
  type: dict
  returned: always
table:
  description: The same as lines of text.
  type: list
  elements: str
  returned: always
"""
