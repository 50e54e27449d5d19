# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the modules say of check mode and diff."""

from __future__ import annotations


class ModuleDocFragment:
    """A module that manages a resource."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Predicts what would change, and writes nothing.
    support: full
  diff_mode:
    description: Shows the resource before and after.
    support: full
"""

    INFO = r"""
attributes:
  check_mode:
    description: Writes nothing in any mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""
