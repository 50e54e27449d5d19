"""Ansible module: the Python environment of the sandbox's daemons."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: daemon_environment
short_description: Virtual environment from a lock file, with a package of this checkout
description:
  - One environment a lock, outside the checkout, so that daemons outlive it.
  - The package is installed again whenever its sources differ. An interrupted installation is made again
    from nothing.
author: IoT receiver contributors (@iotweb)
options:
  directory: {description: Folder of the environments., type: path, required: true}
  lock:
    description: Requirements with hashes; they must hold the package's build backend.
    type: path
    required: true
  package: {description: Folder of the package's pyproject.toml., type: path, required: true}
"""
EXAMPLES = """
- name: Daemons have their environment
  daemon_environment: {directory: /var/cache/sandbox/venv, lock: requirements/sandbox.txt, package: sandbox}
"""
RETURN = """
path: {description: Folder of the environment., type: str, returned: always}
digest: {description: "Digest of lock, interpreter and sources.", type: str, returned: always}
"""


def sources(package: Path) -> list[Path]:
    """Files that make the package, in a stable order."""
    folders = [child for child in package.iterdir() if (child / "__init__.py").exists()]
    files = [
        file
        for folder in folders
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    ]
    return sorted([package / "pyproject.toml", *files])


def digest_of(files: list[Path], root: Path, *more: str) -> str:
    """Digest of names and contents."""
    digest = hashlib.sha256("\0".join(more).encode())
    for file in files:
        digest.update(f"\0{file.relative_to(root)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def run(*command: str, cwd: Path | None = None) -> None:
    """Run a command. Raises RuntimeError with the end of its output if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-2000:]}")


def install_lock(path: Path, lock: Path) -> None:
    """Make the environment from the lock alone."""
    run(sys.executable, "-m", "venv", "--clear", str(path))
    run(
        str(path / "bin/pip"),
        "install",
        "--quiet",
        "--no-compile",  # what is imported is compiled then, which is little of it
        "--disable-pip-version-check",
        "--require-hashes",
        "-r",
        str(lock),
    )
    (path / "locked").touch()


def install_package(path: Path, package: Path, digest: str) -> None:
    """Install the package from a copy, as building it leaves files beside its sources."""
    copy = path / "source"
    shutil.rmtree(copy, ignore_errors=True)
    for file in sources(package):
        target = copy / file.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    flags = (
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--force-reinstall",
    )
    run(str(path / "bin/pip"), "install", *flags, ".", cwd=copy)
    shutil.rmtree(copy)
    (path / "installed").write_text(digest)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "lock": {"type": "path", "required": True},
            "package": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    arguments: dict[str, Any] = module.params
    lock, package = Path(arguments["lock"]), Path(arguments["package"])
    try:
        path = Path(arguments["directory"]) / digest_of([lock], lock.parent, sys.version)
        digest = digest_of(sources(package), package, path.name)
        locked = (path / "locked").exists()
        changed = (
            not locked or not (path / "installed").exists() or (path / "installed").read_text() != digest
        )
        if changed and not module.check_mode:
            if not locked:
                install_lock(path, lock)
            install_package(path, package, digest)
    except (OSError, RuntimeError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, path=str(path), digest=digest)


if __name__ == "__main__":
    main()
