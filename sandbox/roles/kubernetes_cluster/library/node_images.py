"""Ansible module: image archives in the containerd of each node."""

from __future__ import annotations

import hashlib
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: node_images
short_description: Import image archives into the nodes' containerd
description: Imports each archive once; a file in the node's folder notes what its containerd has.
author: IoT receiver contributors (@iotweb)
options:
  state_dir: {description: Folder of the sandbox's state., type: path, required: true}
  nodes: {description: Names of the nodes., type: list, elements: str, required: true}
  archives: {description: Folder of the archives., type: path, required: true}
"""
EXAMPLES = """
- name: Nodes have the images
  node_images: {state_dir: /var/lib/sandbox, nodes: [node-1], archives: /var/cache/sandbox/images}
"""
RETURN = """
imported:
  description: Nodes and names of the archives that were imported.
  type: list
  elements: str
  returned: always
"""


def mark(node: Path, archive: Path) -> Path:
    """The file that notes an archive as imported; another size or time of the archive is another archive."""
    status = archive.stat()
    version = hashlib.sha256(f"{archive.name} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()[
        :16
    ]
    return node / "imported" / f"{archive.stem}-{version}"


def imported(node: Path, archive: Path) -> str:
    """Import one archive. Raises RuntimeError with containerd's words if it can't."""
    done = subprocess.run(
        [
            "ctr",
            "--address",
            str(node / "containerd.sock"),
            "--namespace",
            "k8s.io",
            "images",
            "import",
            str(archive),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{node.name} does not take {archive}: {done.stderr.strip()}")
    mark(node, archive).parent.mkdir(exist_ok=True)
    mark(node, archive).touch()
    return f"{node.name}: {archive.name}"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "nodes": {"type": "list", "elements": "str", "required": True},
            "archives": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    arguments: dict[str, Any] = module.params
    archives = sorted(Path(arguments["archives"]).glob("*.tar"))
    nodes = [Path(arguments["state_dir"]) / name for name in arguments["nodes"]]
    wanted = [(node, archive) for archive in archives for node in nodes if not mark(node, archive).exists()]
    names = [f"{node.name}: {archive.name}" for node, archive in wanted]
    if wanted and not module.check_mode:
        try:
            with ThreadPoolExecutor(2) as pool:
                names = list(pool.map(lambda each: imported(*each), wanted))
        except (OSError, RuntimeError) as error:
            module.fail_json(msg=str(error))
    module.exit_json(changed=bool(wanted), imported=names)


if __name__ == "__main__":
    main()
