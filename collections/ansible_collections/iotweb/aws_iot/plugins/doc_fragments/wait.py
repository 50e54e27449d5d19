# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of modules that wait until what they wrote can be read."""

from __future__ import annotations


class ModuleDocFragment:
    """In code: module_utils/iot.py, WAIT_OPTIONS."""

    DOCUMENTATION = r"""
options:
  wait:
    description:
      - Whether to wait until AWS IoT returns what was written; its reads may lag behind its writes.
    type: bool
    default: true
  wait_timeout:
    description: Longest wait for that, in seconds.
    type: int
    default: 30
"""
