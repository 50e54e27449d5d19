"""Filter `grafana_dashboard`: a dashboard in Grafana's JSON, from what is worth saying about it.

Model: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

COLUMNS = 24  # of Grafana's grid
HEIGHTS = {"stat": 4, "timeseries": 8}
SOURCE = {"type": "prometheus", "uid": "${source}"}


def thresholds(steps: Mapping[float | str, str]) -> dict[str, Any]:
    """Colours by the value from which they hold; the least holds for all below."""
    least, *others = sorted((float(value), color) for value, color in steps.items())
    ordered = [{"value": None, "color": least[1]}, *({"value": value, "color": color} for value, color in others)]
    return {"mode": "absolute", "steps": ordered}


def panel(number: int, given: Mapping[str, Any], left: int, top: int) -> dict[str, Any]:
    """One panel at its place of the grid."""
    kind = given.get("kind", "timeseries")
    custom = {"fillOpacity": 8, "showPoints": "never", "spanNulls": True, "thresholdsStyle": {"mode": "dashed"}}
    options = {
        "stat": {"colorMode": "value", "graphMode": "area", "reduceOptions": {"calcs": ["lastNotNull"]}},
        "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    }[kind]
    return {
        "id": number,
        "type": kind,
        "title": given["title"],
        "description": given["description"],
        "datasource": SOURCE,
        "gridPos": {"x": left, "y": top, "w": given["width"], "h": HEIGHTS[kind]},
        "fieldConfig": {
            "defaults": {
                "unit": given["unit"],
                "min": given.get("min", 0),
                "thresholds": thresholds(given["thresholds"]),
                **({"max": given["max"]} if "max" in given else {}),
                **({"custom": custom} if kind == "timeseries" else {}),
            },
            "overrides": [],
        },
        "options": options,
        "targets": [
            {"refId": chr(ord("A") + place), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
            for place, (legend, expression) in enumerate(given["queries"].items())
        ],
    }


def dashboard(given: Mapping[str, Any]) -> dict[str, Any]:
    """The whole dashboard; panels are put side by side as far as the grid has room."""
    panels: list[dict[str, Any]] = []
    left = top = height = 0
    for number, each in enumerate(given["panels"], 1):
        if left + each["width"] > COLUMNS:
            left, top, height = 0, top + height, 0
        panels.append(panel(number, each, left, top))
        left += each["width"]
        height = max(height, panels[-1]["gridPos"]["h"])
    source = {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}}
    return {
        "uid": given["uid"],
        "title": given["title"],
        "description": given["description"],
        "tags": ["iot-receiver"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [source]},
        "panels": panels,
    }


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"grafana_dashboard": lambda given: json.dumps(dashboard(given), indent=1, sort_keys=True)}
