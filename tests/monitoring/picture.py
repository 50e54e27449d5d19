"""Draws the dashboard *overview* as docs/overview.svg, from its own queries asked of a Prometheus.

    .venv/bin/python -m tests.monitoring.picture http://10.96.0.1:9090 [minutes]

No Grafana is needed: titles, units, thresholds and places are those of the dashboard that role receiver applies.
"""

import json
import math
import sys
import time
import urllib.parse
import urllib.request
from html import escape
from typing import Any

from tests.monitoring.objects import dashboard
from tests.support.paths import ROOT

COLUMN, ROW, GAP = 46, 24, 6  # pixels of a cell of Grafana's grid, and between panels
STEPS = 120
COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b")
LEVELS = {"green": "#2ca02c", "orange": "#e08a00", "red": "#c4162a"}
Line = tuple[str, list[tuple[float, float]]]


def ask(prometheus: str, expression: str, minutes: int) -> list[dict[str, Any]]:
    """The series of a query over the last minutes."""
    end = time.time()
    query = {"query": expression, "start": end - 60 * minutes, "end": end, "step": 60 * minutes / STEPS}
    url = f"{prometheus}/api/v1/query_range?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - the address is the caller's own
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found


def lines(prometheus: str, panel: dict[str, Any], minutes: int) -> list[Line]:
    """What a panel shows, by the names in its legend."""
    drawn: list[Line] = []
    for target in panel["targets"]:
        for series in ask(prometheus, target["expr"], minutes):
            name = target["legendFormat"]
            for label, value in series["metric"].items():
                name = name.replace(f"{{{{{label}}}}}", value)
            points = [(float(at), float(value)) for at, value in series["values"] if value not in {"NaN", "+Inf"}]
            drawn += [(name, points)] if points else []
    return drawn


def said(value: float, unit: str) -> str:
    """A value as people read it."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    return f"{value:.3g}" + {"cps": " /s", "reqps": " /s", "bytes": " B"}.get(unit, "")


def level(value: float, steps: list[dict[str, Any]]) -> str:
    """The colour of a value."""
    return LEVELS[next(step["color"] for step in reversed(steps) if step["value"] is None or value >= step["value"])]


def text(x: float, y: float, words: str, size: int, *, color: str = "#333", anchor: str = "start") -> str:
    """Words at a place."""
    return (f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{color}" text-anchor="{anchor}">'
            f"{escape(words)}</text>")


def curve(points: list[tuple[float, float]], box: tuple[float, float, float, float], top: float, color: str,
          span: tuple[float, float]) -> str:
    """A line through points, in a box from 0 to top."""
    left, upper, width, height = box
    begin, end = span
    places = " ".join(
        f"{left + (at - begin) / (end - begin) * width:.1f},{upper + height * (1 - min(max(value, 0), top) / top):.1f}"
        for at, value in points)
    return f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="1.4"/>'


def drawn(panel: dict[str, Any], shown: list[Line], span: tuple[float, float]) -> str:
    """One panel."""
    grid, defaults = panel["gridPos"], panel["fieldConfig"]["defaults"]
    x, y = grid["x"] * COLUMN + GAP, grid["y"] * ROW + GAP + 30
    width, height = grid["w"] * COLUMN - GAP, grid["h"] * ROW - GAP
    out = [f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="#fff" stroke="#ddd"/>',
           text(x + 8, y + 16, panel["title"], 12)]
    unit, steps = defaults["unit"], defaults["thresholds"]["steps"]
    top = max([value for _, points in shown for _, value in points], default=0) * 1.1 or 1
    if panel["type"] == "stat":
        value = shown[0][1][-1][1] if shown else math.nan
        color = level(value, steps) if shown else "#999"
        out += [curve(points, (x + 8, y + height - 28, width - 16, 22), top, "#ccc", span) for _, points in shown]
        words = said(value, unit) if shown else "no data"
        out.append(text(x + width / 2, y + height / 2 + 12, words, 24, color=color, anchor="middle"))
        return "\n".join(out)
    box = (x + 50, y + 26, width - 62, height - 62)
    for share in (0, 0.5, 1):
        at = box[1] + box[3] * (1 - share)
        out.append(f'<line x1="{box[0]}" x2="{box[0] + box[2]}" y1="{at}" y2="{at}" stroke="#eee"/>')
        out.append(text(box[0] - 4, at + 4, said(top * share, unit), 9, color="#777", anchor="end"))
    legend = x + 8.0
    for number, (name, points) in enumerate(shown):
        color = COLORS[number % len(COLORS)]
        out += [curve(points, box, top, color, span), text(legend, y + height - 8, f"― {name}", 10, color=color)]
        legend += 24 + 6.2 * len(name)
    return "\n".join(out)


def main() -> None:
    """Ask, draw, and write the file."""
    prometheus, minutes = sys.argv[1].rstrip("/"), int(sys.argv[2]) if sys.argv[2:] else 20
    found = dashboard("overview")
    span = (time.time() - 60 * minutes, time.time())
    panels = [drawn(panel, lines(prometheus, panel, minutes), span) for panel in found["panels"]]
    width = 24 * COLUMN + GAP
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in found["panels"]) * ROW + 30 + GAP
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            ' font-family="sans-serif">')
    ground = f'<rect width="{width}" height="{height}" fill="#f4f5f5"/>'
    title = text(10, 22, f"{found['title']}, {minutes} minutes", 15)
    (ROOT / "docs/overview.svg").write_text("\n".join([head, ground, title, *panels, "</svg>\n"]))


if __name__ == "__main__":
    main()
