# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds mistakes in the variables that an inventory sets for roles: see preflight_variable_faults.yml."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from jinja2 import Undefined

# Of two names this much alike, the unknown one is taken for a slip.
ALIKE = 0.9
NOT_OURS = ("ansible_", "sandbox_", "_")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast
CHECKED = ("type", "elements", "choices", "options")


@cache
def described(roles: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """By role, each of its variables and what can be checked of it before values are complete."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for file in sorted(roles.glob("*/meta/argument_specs.yml")):
        entry_points = yaml.load(file.read_bytes(), LOADER)["argument_specs"].values()  # noqa: S506 - LOADER is one of the two safe ones
        found[file.parent.parent.name] = {
            name: {key: option[key] for key in CHECKED if key in option}
            for entry_point in entry_points
            for name, option in (entry_point.get("options") or {}).items()
        }
    return found


def plain(value: Any) -> Any:
    """A value without what Ansible attaches to it, which the validator would copy: seconds a run."""
    if isinstance(value, Mapping):
        return {key: plain(value[key]) for key in value}
    if isinstance(value, (list, tuple)):
        return [plain(element) for element in value]
    return json.loads(json.dumps(value, default=str))


def value_faults(variables: Mapping[str, Any], role: str, options: Mapping[str, Any]) -> Iterator[str]:
    """Values that the role would not take."""
    for name in sorted(options.keys() & set(variables)):
        try:
            if variables[name] is None or isinstance(variables[name], Undefined):
                continue
            value = plain(variables[name])
        except AnsibleError:
            continue  # made of what only a later step of the run will know
        for message in ArgumentSpecValidator({name: options[name]}).validate({name: value}).error_messages:
            yield f"{name} is wrong: {message}. roles/{role}/meta/argument_specs.yml describes it."


def name_faults(names: Collection[str], roles: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Names that no role has, but that closely resemble one that a role does."""
    known = {name: role for role, options in roles.items() for name in options}
    for name in sorted(set(names) - set(known)):
        if name.startswith(NOT_OURS):
            continue
        for meant in get_close_matches(name, known, n=1, cutoff=ALIKE):
            yield f"{name} is not a variable of role {known[meant]}, but {meant} is. Rename or remove it."


def preflight_variable_faults(variables: Mapping[str, Any], roles: str, removed: Mapping[str, str]) -> list[str]:
    """One sentence for each fault in a host's variables, with its fix.

    :param roles: folder of the roles.
    :param removed: variables of earlier versions, each with what to do instead.
    """
    specs = described(Path(roles))
    gone = sorted(set(variables) & set(removed))
    return [
        *(f"{name} is no longer a variable. {removed[name]}" for name in gone),
        *(fault for role, options in specs.items() for fault in value_faults(variables, role, options)),
        *name_faults(set(variables) - set(gone), specs),
    ]


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"preflight_variable_faults": preflight_variable_faults}
