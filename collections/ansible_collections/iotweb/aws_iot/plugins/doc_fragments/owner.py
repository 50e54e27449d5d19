# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of modules that leave alone what belongs to somebody else."""

from __future__ import annotations


class ModuleDocFragment:
    """In code: module_utils/owner.py, OWNER_OPTIONS."""

    DOCUMENTATION = r"""
options:
  owner:
    description:
      - Tags that the caller's resources have, such as C(Deployment) with C(prod). Things, which AWS can't tag, have
        them as attributes; a destination has the owner of the rules that post to it.
      - What the module makes gets them. What exists with other values, or without them, belongs to somebody else. It is
        never changed, attached or deleted. The module fails; with a state that removes or switches off, it warns and
        leaves the resource.
      - Without the option, the module does not ask whose a resource is.
    type: dict
    version_added: 2.0.0
  owner_advice:
    description: What such a message tells its reader to do.
    type: str
    default: "Give another name, or take it over with adopt: true if it has no owner."
    version_added: 2.0.0
  adopt:
    description:
      - Whether a resource that has none of the tags of O(owner) is taken over, by giving it these tags.
      - One with other values has an owner, who must remove them first.
    type: bool
    default: false
    version_added: 2.0.0
"""
