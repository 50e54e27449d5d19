#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: content_digest
version_added: 2.0.0
short_description: Name the content of files
description:
  - Digests names, contents and executable bits of files, and of all files in folders but for what Python and
    its tools leave there. Times and owners do not matter.
author:
  - IoT receiver contributors (@iotweb)
options:
  root:
    description: Folder that the paths are relative to.
    type: path
    required: true
  paths:
    description: Files and folders.
    type: list
    elements: str
    required: true
  more:
    description: Further text that counts as content.
    type: str
    default: ""
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
"""

EXAMPLES = r"""
- name: Digest the content
  iotweb.deployment.content_digest:
    root: /srv/service
    paths: [Dockerfile, src]
"""

RETURN = r"""
digest:
  description: The first 16 hexadecimal digits of the SHA-256.
  type: str
  returned: success
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def files(path: Path) -> Iterator[Path]:
    """The files at or below a path, in one order everywhere.

    :raises FileNotFoundError: if there is nothing.
    """
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise FileNotFoundError(path)
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name):
        left = entry.name == "__pycache__" or entry.name.endswith(("_cache", ".pyc", ".egg-info"))
        if not left and (entry.is_file() or entry.is_dir()):
            yield from files(entry)


def digest(root: Path, paths: list[str], more: str) -> str:
    """The digest of all files below the paths, and of the text."""
    total = hashlib.sha256(more.encode())
    for path in paths:
        for file in files(root / path):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            executable = bool(file.stat().st_mode & 0o100)
            total.update(f"\0{file.relative_to(root).as_posix()}\0{content}\0{executable}".encode())
    return total.hexdigest()[:16]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "paths": {"type": "list", "elements": "str", "required": True},
            "more": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    try:
        found = digest(Path(module.params["root"]), module.params["paths"], module.params["more"])
    except OSError as error:
        module.fail_json(msg=f"The image's content cannot be read: {error}")
    module.exit_json(changed=False, digest=found)


if __name__ == "__main__":
    main()
