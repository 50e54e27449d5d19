# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds tags that no task of a run has: see preflight_tag_faults.yml."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible import context

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast
# Ansible's own, and those that molecule leaves out of every run.
SPECIAL = {"all", "always", "never", "tagged", "untagged",
           "notest", "molecule-notest", "molecule-idempotence-notest"}
ROLE = ("role", "ansible.builtin.import_role", "ansible.builtin.include_role")


def tags_in(part: Any, folder: Path, roles: Path) -> Iterator[str]:
    """Yield the tags of a part of a playbook, and of what it imports: Ansible's own parser takes seconds for that."""
    if isinstance(part, list):
        for each in part:
            yield from tags_in(each, folder, roles)
    if not isinstance(part, Mapping):
        return
    tags = part.get("tags") or []
    yield from tags if isinstance(tags, list) else str(tags).split(",")
    for key, value in part.items():
        if key == "ansible.builtin.import_playbook":
            yield from tags_of(folder / value, roles)
        elif key in ROLE:
            role = value if isinstance(value, Mapping) else {"name": value}
            yield from tags_of(roles / role["name"] / "tasks" / f"{role.get('tasks_from', 'main')}.yml", roles)
        elif key != "vars":
            yield from tags_in(value, folder, roles)


def tags_of(file: Path, roles: Path) -> Iterator[str]:
    """Yield the tags of a file of plays or tasks; none of one that is missing, such as tasks of a role without any."""
    if file.exists():
        yield from tags_in(yaml.load(file.read_bytes(), LOADER), file.parent, roles)  # noqa: S506 - a safe loader


def preflight_tag_faults(tags: Collection[str], roles: str, checks: Collection[str]) -> list[str]:
    """One sentence for each tag that no task has, with its fix.

    :param tags: what the command line names.
    :param roles: folder of the roles.
    :param checks: tags of what every run does, whatever its tags.
    """
    playbooks = context.CLIARGS["args"]
    known = {tag for path in playbooks for tag in tags_of(Path(path), Path(roles))} - SPECIAL
    fix = f"Its tags are {', '.join(sorted(known))}" if known else "It has none: run it without"
    if any(Path(path).name == "site.yml" for path in playbooks):  # each role, whether a step of it or a part of one
        known |= {path.name for path in Path(roles).iterdir()}
    return [
        f"{' '.join(playbooks)} has no tag {tag}, so nothing was done. {fix}."
        for tag in sorted(set(tags) - known - SPECIAL - set(checks))
    ]


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"preflight_tag_faults": preflight_tag_faults}
