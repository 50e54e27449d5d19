# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps modules as they are sent to hosts from one run to the next."""

from __future__ import annotations

DOCUMENTATION = r"""
name: kept_modules
type: aggregate
version_added: 2.0.0
short_description: Build a module's archive once, not in every run
description:
  - Ansible builds an archive of each module and the libraries it imports, which takes a third of a second of processor
    time for each module and run.
  - This keeps the archives below C(ANSIBLE_HOME), until Ansible, a collection or one of the project's modules changes.
requirements:
  - enabled in C(callbacks_enabled)
"""

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ansible
from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.release import __version__

UNUSED = 7 * 24 * 3600  # seconds, after which archives of other sources go


def sources(collections: list[str | Path], roles: list[str], others: list[str]) -> Iterator[Path]:
    """What modules are made of: installed collections' manifests, and the files of others, of roles and of folders."""
    for folder in collections:
        for collection in Path(folder).glob("ansible_collections/*/*/"):
            manifest = collection / "MANIFEST.json"
            yield from [manifest] if manifest.exists() else collection.glob("plugins/*/**/*.py")
    for folder in roles:
        yield from Path(folder).glob("*/library/**/*.py")
        yield from Path(folder).glob("*/module_utils/**/*.py")
    for folder in others:
        yield from Path(folder).glob("**/*.py")


def digest(files: Iterator[Path]) -> str:
    """Of Ansible's version and the files' names, sizes and times."""
    states = [(str(file), status.st_size, status.st_mtime_ns) for file in sorted(files) for status in [file.stat()]]
    return hashlib.sha256(repr((__version__, __file__, states)).encode()).hexdigest()[:16]


def remove_unused(folder: Path) -> None:
    """Remove archives that no run has used for a while."""
    for other in folder.iterdir():
        if other.stat().st_mtime < time.time() - UNUSED:
            shutil.rmtree(other, ignore_errors=True)


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible has no types
    """Puts a link where Ansible would make a folder for this run's archives."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "iotweb.deployment.kept_modules"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        archives = Path(constants.config.get_config_value("ANSIBLE_HOME")) / "kept_modules"
        collections = [*constants.COLLECTIONS_PATHS, Path(ansible.__file__).parents[1]]  # the latter come with Ansible
        folder = playbook._basedir
        others = [*constants.DEFAULT_MODULE_PATH, *constants.DEFAULT_MODULE_UTILS_PATH, f"{folder}/library"]
        kept = archives / digest(sources(collections, [*constants.DEFAULT_ROLES_PATH, f"{folder}/roles"], others))
        try:
            kept.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.utime(kept)
            remove_unused(archives)
            # Runs may share it: Ansible writes an archive under a lock of its own.
            (Path(constants.DEFAULT_LOCAL_TMP) / "ansiballz_cache").symlink_to(kept)
        except OSError as error:
            self._display.vvv(f"Modules' archives are not kept: {error}")
