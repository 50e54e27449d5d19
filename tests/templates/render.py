"""Renders a role's templates as Ansible does, without a host."""

from pathlib import Path
from typing import Any, cast

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template

ROLES = Path(__file__).resolve().parent.parent.parent / "roles"

init_plugin_loader()


def render(role: str, template: str, **variables: Any) -> dict[str, Any]:
    """A template's one YAML document, from the role's defaults and vars and what is given over them."""
    text = (ROLES / role / "templates" / template).read_text()
    return cast("dict[str, Any]", yaml.safe_load(str(_templar(role, variables).template(trust_as_template(text)))))


def variable(role: str, name: str, **variables: Any) -> Any:
    """The value of one variable that a role sees."""
    return _templar(role, variables).template(trust_as_template("{{ " + name + " }}"))


def _templar(role: str, variables: dict[str, Any]) -> Templar:
    loader = DataLoader()
    known: dict[str, Any] = {"ansible_search_path": [str(ROLES / role)]}
    for name in ("deployment_defaults", role):
        for part in ("defaults", "vars"):
            for file in sorted((ROLES / name / part).glob("**/*.yml")):
                known |= loader.load_from_file(str(file), trusted_as_template=True)
    return Templar(loader=loader, variables=known | variables)
