# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every module that calls AWS takes: credentials, region and botocore's settings, in amazon.aws' own words."""

from __future__ import annotations

from typing import Any

import yaml
from ansible_collections.amazon.aws.plugins.doc_fragments.boto3 import ModuleDocFragment as Boto3
from ansible_collections.amazon.aws.plugins.doc_fragments.common import ModuleDocFragment as Common
from ansible_collections.amazon.aws.plugins.doc_fragments.region import ModuleDocFragment as Region


def merged(*fragments: str) -> str:
    """Return fragments as one. Ansible does not expand a fragment within a fragment."""
    whole: dict[str, Any] = {}
    for fragment in fragments:
        for name, value in yaml.safe_load(fragment).items():
            if isinstance(value, dict):
                whole.setdefault(name, {}).update(value)
            else:
                whole.setdefault(name, []).extend(value)
    return str(yaml.safe_dump(whole, sort_keys=False))


class ModuleDocFragment:
    """The three fragments that amazon.aws' modules name one by one."""

    DOCUMENTATION = merged(Common.MODULES, Region.MODULES, Boto3().DOCUMENTATION)
