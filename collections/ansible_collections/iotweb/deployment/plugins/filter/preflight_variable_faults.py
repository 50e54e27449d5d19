# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finds mistakes in the variables that an inventory sets for roles: see preflight_variable_faults.yml."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
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
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is ten times as fast
CHECKED = ("type", "elements", "choices", "options")


@cache
def described(roles: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """By role, each of its variables and what can be checked of it before values are complete."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for file in sorted(roles.glob("*/meta/argument_specs.yml")):
        entry_points = yaml.load(file.read_bytes(), LOADER)["argument_specs"].values()  # noqa: S506 - safe
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


def name_faults(variables: Mapping[str, Any], roles: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Names that no role knows, but that are almost one that a role does."""
    known = {name for options in roles.values() for name in options}
    for name in sorted(set(variables) - known):
        for role, options in roles.items():
            meant = get_close_matches(name, options, n=1, cutoff=ALIKE) if name.startswith(f"{role}_") else []
            if meant:
                yield f"{name} is not a variable of role {role}, but {meant[0]} is. Rename or remove it."


def preflight_variable_faults(variables: Mapping[str, Any], roles: str) -> list[str]:
    """One sentence for each fault in a host's variables, with its fix; roles is the folder of the roles."""
    specs = described(Path(roles))
    faults = [fault for role, options in specs.items() for fault in value_faults(variables, role, options)]
    return faults + list(name_faults(variables, specs))


class FilterModule:
    """The filters of this file, for Ansible."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By name."""
        return {"preflight_variable_faults": preflight_variable_faults}
