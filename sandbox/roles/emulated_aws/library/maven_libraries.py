"""Ansible module: a folder with the libraries of a Maven project."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: maven_libraries
short_description: Put the libraries that a Maven project depends on into a folder
description:
  - Downloads with the machine's own mvn and its settings; checksums must match.
  - The folder appears in one step, so an interrupted download is made again from nothing.
  - A folder that is there is left alone.
author: IoT receiver contributors (@iotweb)
options:
  pom: {description: The project, with exact versions., type: path, required: true}
  directory: {description: Folder of the libraries, named for their versions., type: path, required: true}
"""
EXAMPLES = """
- name: DynamoDB Local is there
  maven_libraries: {pom: files/pom.xml, directory: /var/cache/sandbox/dynamodb-local/1234abcd}
"""
RETURN = """
directory: {description: Folder of the libraries., type: str, returned: always}
"""


def download(pom: Path, directory: Path) -> None:
    """Fill the folder, in one step. Raises RuntimeError with the end of Maven's output if it fails."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".new-", dir=directory.parent))
    try:
        command = (
            "mvn",
            "--batch-mode",
            "--quiet",
            "--strict-checksums",
            f"--file={pom}",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={draft}",
        )
        done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(
                f"mvn could not download the libraries of {pom}:\n{(done.stdout + done.stderr)[-2000:]}"
            )
        draft.chmod(0o755)
        draft.replace(directory)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "pom": {"type": "path", "required": True},
            "directory": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    pom, directory = Path(module.params["pom"]), Path(module.params["directory"])
    changed = not directory.exists()
    if changed and not module.check_mode:
        try:
            download(pom, directory)
        except (OSError, RuntimeError) as error:
            module.fail_json(msg=str(error))
    module.exit_json(changed=changed, directory=str(directory))


if __name__ == "__main__":
    main()
