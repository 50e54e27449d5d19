"""Ansible module: many small files in one task."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: rendered_files
short_description: Write several files
description: What ansible.builtin.copy with content does, for a list of files, since each task costs a second.
author: IoT receiver contributors (@iotweb)
options:
  files:
    description: 'Files (path, content; mode, 0644 by default).'
    type: list
    elements: dict
    required: true
"""
EXAMPLES = """
- name: Node is configured
  rendered_files:
    files:
      - {path: /var/lib/sandbox/node-1/resolv.conf, content: "nameserver 10.96.0.10\n"}
"""
RETURN = """
written: {description: Paths of the files that differed., type: list, elements: str, returned: always}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True}},
        supports_check_mode=True,
    )
    wanted: list[dict[str, Any]] = module.params["files"]
    diffs, written = [], []
    for each in wanted:
        path, content, mode = Path(each["path"]), str(each["content"]), int(str(each.get("mode", "0644")), 8)
        before = path.read_text() if path.exists() else ""
        if path.exists() and before == content and path.stat().st_mode & 0o7777 == mode:
            continue
        lines = difflib.unified_diff(before.splitlines(True), content.splitlines(True), str(path), str(path))
        # what only its owner may read is not shown either
        diffs.append({"prepared": f"{path} differs\n" if mode & 0o077 == 0 else "".join(lines)})
        written.append(str(path))
        if not module.check_mode:
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_name(f".{path.name}.new")
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
                file.write(content)
            new.chmod(mode)
            new.replace(path)
    module.exit_json(changed=bool(written), written=written, diff=diffs)


if __name__ == "__main__":
    main()
