#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

# The action plugin of the same name does the work.
DOCUMENTATION = r"""
---
module: prefixed_facts
version_added: 1.0.0
short_description: Set a mapping's members as facts whose names share a prefix
description:
  - As M(ansible.builtin.set_fact) does with names that are known beforehand.
author:
  - IoT receiver contributors (@iotweb)
options:
  prefix:
    description: What each name begins with.
    type: str
    required: true
  values:
    description: Values by the rest of the name.
    type: dict
    required: true
attributes:
  action: {description: Runs on the controller., support: full}
  check_mode: {description: Sets the facts in any mode., support: full}
  diff_mode: {description: There is nothing to compare., support: none}
"""

EXAMPLES = r"""
- name: Set infrastructure_vpc_id and infrastructure_region
  iotweb.deployment.prefixed_facts:
    prefix: infrastructure_
    values: {vpc_id: vpc-0123456789abcdef0, region: us-east-2}
"""

RETURN = r"""
ansible_facts:
  description: The facts that were set.
  type: dict
  returned: always
"""
