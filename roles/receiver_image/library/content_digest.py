#!/usr/bin/python
"""Module `content_digest`: a short name for the content of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: content_digest
short_description: Name the content of files
description:
  - Digests names, contents and executable bits of files, and of all files in folders but for what Python and
    its tools leave there. Times and owners do not count.
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
attributes:
  check_mode: {support: full}
author:
  - IoT receiver contributors
"""

EXAMPLES = r"""
- name: Content is known
  content_digest:
    root: /srv/service
    paths: [Dockerfile, src]
"""

RETURN = r"""
digest:
  description: The first 16 hexadecimal digits of the SHA-256.
  type: str
  returned: success
"""


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
    """Entry point of the module."""
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
