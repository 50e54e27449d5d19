#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: pip_settings
version_added: 2.0.0
short_description: Give an image's build this machine's pip settings
description:
  - Writes the settings that say where packages come from (index, proxy, trusted authorities), from pip's files
    and environment, as a pip.conf. What names files of this machine is left out, but for the authorities, which
    are named in the result.
author:
  - IoT receiver contributors (@iotweb)
options:
  path:
    description: The pip.conf to write; readable by its owner only, since an index may need a password.
    type: path
    required: true
  ca_path:
    description: Where the build will find the authorities.
    type: str
    required: true
extends_documentation_fragment:
  - iotweb.aws_iot.attributes
"""

EXAMPLES = r"""
- name: Write pip's settings
  iotweb.deployment.pip_settings:
    path: /run/build/pip.conf
    ca_path: /etc/pip-ca.pem
"""

RETURN = r"""
ca:
  description: File of the authorities that pip trusts here; empty if it trusts its own.
  type: str
  returned: success
"""

import configparser
import io
import os
import subprocess
import sys
from ast import literal_eval
from collections.abc import Mapping
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

CARRIED = {"extra-index-url", "find-links", "index-url", "proxy", "retries", "timeout", "trusted-host"}


def settings(listing: str, environment: Mapping[str, str]) -> dict[str, str]:
    """What counts of `pip config list` and the environment. Later lines win, as in pip: env is last."""
    found: dict[str, str] = {}
    for line in listing.splitlines():
        name, equals, value = line.partition("=")
        if not equals:
            continue
        found[name.rpartition(".")[2]] = str(literal_eval(value))
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if environment.get(variable):
            found.setdefault("cert", environment[variable])
    for variable in ("https_proxy", "HTTPS_PROXY"):
        if environment.get(variable):
            found.setdefault("proxy", environment[variable])
    return found


def carried(found: Mapping[str, str]) -> dict[str, str]:
    """The settings that mean the same elsewhere."""
    links = [
        link for link in found.get("find-links", "").split() if "://" in link and not link.startswith("file:")
    ]
    chosen = {name: value for name, value in found.items() if name in CARRIED and name != "find-links"}
    return chosen | ({"find-links": "\n".join(links)} if links else {})


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "ca_path": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    pip = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(pip, capture_output=True, text=True, check=False).stdout
    found = settings(listing, os.environ)
    ca = found.get("cert", "")
    if ca and not Path(ca).is_file():
        module.fail_json(msg=f"pip's setting cert names {ca}, which does not exist: correct it")
    parser = configparser.RawConfigParser()
    parser["global"] = carried(found) | ({"cert": module.params["ca_path"]} if ca else {})
    text = io.StringIO()
    parser.write(text)
    if not module.check_mode:
        file = Path(module.params["path"])
        file.touch(mode=0o600)
        file.write_text(text.getvalue())
    module.exit_json(changed=True, ca=ca)


if __name__ == "__main__":
    main()
