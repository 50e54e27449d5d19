"""The receiver's monitoring objects as role receiver would apply them, rendered without a host."""

import json
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.templates.render import ROLES

ROLE = ROLES / "receiver"
DASHBOARDS = ("overview", "receiver")
PLACE = {"deployment_name": "iot-receiver", "ansible_search_path": [str(ROLE)]}


def render(template: str, **variables: Any) -> dict[str, Any]:
    """A template's one object, from the role's defaults and vars and what is given over them."""
    loader = DataLoader()
    loader.set_basedir(str(ROLE))
    known: dict[str, Any] = {}
    for role in (ROLE.with_name("deployment_defaults"), ROLE):
        for part in ("defaults", "vars"):
            known |= loader.load_from_file(str(role / part / "main.yml"), trusted_as_template=True)
    templar = Templar(loader=loader, variables=known | PLACE | variables)
    text = (ROLE / "templates" / "monitoring" / f"{template}.yaml.j2").read_text()
    rendered: dict[str, Any] = yaml.safe_load(str(templar.template(trust_as_template(text))))
    return rendered


def rules(**variables: Any) -> list[dict[str, Any]]:
    """The groups of rules, as Prometheus reads them."""
    groups: list[dict[str, Any]] = render("prometheus_rule", **variables)["spec"]["groups"]
    return groups


def alerts(**variables: Any) -> list[dict[str, Any]]:
    """The rules that alert."""
    return [rule for group in rules(**variables) for rule in group["rules"] if "alert" in rule]


def dashboard(name: str, **variables: Any) -> dict[str, Any]:
    """A dashboard, as Grafana reads it."""
    [text] = render("dashboard", receiver_dashboard=name, **variables)["data"].values()
    found: dict[str, Any] = json.loads(text)
    return found


def assert_side_by_side(panels: list[dict[str, Any]]) -> None:
    """Fail for panels that overlap or leave Grafana's 24 columns."""
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in columns for y in rows}
        assert not cells & taken, panel["title"]
        assert max(columns) < 24
        taken |= cells
