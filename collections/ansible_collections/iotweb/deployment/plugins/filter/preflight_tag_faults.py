# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds tags that leave a run nothing to do: see preflight_tag_faults.yml."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible import context

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast
# Ansible's own, and those that molecule leaves out of every run.
SPECIAL = {"all", "always", "never", "tagged", "untagged",
           "notest", "molecule-notest", "molecule-idempotence-notest"}
ROLE = ("role", "ansible.builtin.import_role", "ansible.builtin.include_role")
PARTS = ("pre_tasks", "roles", "tasks", "post_tasks", "block", "rescue", "always")
CHECKS = {"preflight.yml", "deployment.yml"}  # every playbook imports them; their tasks that have tags have always


@cache
def parts_of(file: Path) -> list[Any]:
    """What a file holds."""
    return yaml.load(file.read_bytes(), LOADER) or []  # noqa: S506 - LOADER is one of the two safe ones


@dataclass(frozen=True)
class Tree:
    """A playbook's tasks by their tags, as they are inherited. Ansible's own parser takes seconds for that.

    :param roles: folder of the roles.
    :param empty: groups that have no host, whose plays do nothing.
    """

    roles: Path
    empty: Collection[str] = ()

    def tasks_of(self, file: Path, inherited: frozenset[str] = frozenset()) -> Iterator[frozenset[str]]:
        """Yield the tags of each task of a file; none of one that is missing, such as tasks of a role without any."""
        if file.exists():
            for part in parts_of(file):
                yield from self._tasks_in(part, file.parent, inherited)

    def _tasks_in(self, part: Any, folder: Path, inherited: frozenset[str]) -> Iterator[frozenset[str]]:
        if not isinstance(part, Mapping) or part.get("hosts") in self.empty:
            return
        tags = inherited.union(listed(part))
        playbook = part.get("ansible.builtin.import_playbook")
        role = next((part[key] for key in ROLE if key in part), None)
        inner = [each for key in PARTS for each in part.get(key) or []]
        if playbook and Path(playbook).name not in CHECKS:
            yield from self.tasks_of(folder / playbook, tags)
        elif role:
            named = role if isinstance(role, Mapping) else {"name": role}
            tags = tags.union(listed(named.get("apply", {})))
            yield tags
            file = self.roles / named["name"] / "tasks" / f"{named.get('tasks_from', 'main')}.yml"
            yield from self.tasks_of(file, tags)
        elif not playbook and "hosts" not in part and not inner:
            yield tags
        for each in inner:
            yield from self._tasks_in(each, folder, tags)


def listed(part: Mapping[str, Any]) -> list[str]:
    """The tags that a part of a playbook names."""
    tags = part.get("tags") or []
    return tags if isinstance(tags, list) else str(tags).split(",")


def preflight_tag_faults(
    tags: Collection[str], roles: str, checks: Collection[str],
    skipped: Collection[str] = (), empty: Collection[str] = (),
) -> list[str]:  # fmt: skip
    """One sentence for each tag that no task has, or one if those left out leave nothing to do, with its fix.

    :param tags: what --tags names.
    :param roles: folder of the roles.
    :param checks: tags of what every run does, whatever its tags.
    :param skipped: what --skip-tags names.
    :param empty: groups without a host.
    """
    playbooks = context.CLIARGS["args"]

    def tasks(tree: Tree) -> list[frozenset[str]]:
        return [found for path in playbooks for found in tree.tasks_of(Path(path))]

    every = tasks(Tree(Path(roles)))
    known = frozenset().union(*every) - SPECIAL
    fix = f"Its tags are {', '.join(sorted(known))}" if known else "It has none: run it without"
    named = known
    if any(Path(path).name == "site.yml" for path in playbooks):  # each role, whether a step of it or a part of one
        named |= {path.name for path in Path(roles).iterdir()}
    unknown = sorted({*tags, *skipped} - named - SPECIAL - set(checks))
    if unknown:
        return [f"{' '.join(playbooks)} has no tag {tag}, so nothing was done. {fix}." for tag in unknown]
    if not skipped and (set(tags) & SPECIAL or set(tags) & set(checks) or not set(tags) & known):
        return []

    def asked(task: frozenset[str]) -> bool:
        return "always" not in task and bool("all" in tags or task & set(tags))

    there = [task for task in tasks(Tree(Path(roles), empty)) if asked(task)]
    if skipped:
        if not there or any(task.isdisjoint(skipped) for task in there):
            return []
        option, reason = f"--skip-tags {','.join(sorted(skipped))}", ". Run it without that."
    elif there:
        return []
    else:
        option = f"--tags {','.join(sorted(tags))}"
        reason = ": its plays act on groups that have no host in this inventory."
    return [f"{' '.join(playbooks)} has nothing to do with {option}, so nothing was done{reason}"]


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"preflight_tag_faults": preflight_tag_faults}
