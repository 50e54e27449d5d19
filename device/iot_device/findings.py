"""What status and doctor print: lines with a verdict, each fault with its fix."""

import json
import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass

WIDTH = 13
VERDICTS = {"ok": "ok", "note": "note", "fault": "FAULT"}
COLOURS = {"ok": "\033[32m", "note": "\033[33m", "fault": "\033[1;31m"}


@dataclass(frozen=True)
class Finding:
    """The result of one check; `verdict` is ok, note (worth knowing) or fault."""

    name: str
    verdict: str
    text: str
    fix: str = ""


def show(title: str, findings: Sequence[Finding], as_json: bool) -> int:
    """Print findings; returns the exit status, 1 if there is a fault."""
    faults = sum(finding.verdict == "fault" for finding in findings)
    if as_json:
        print(json.dumps({"title": title, "faults": faults, "findings": [asdict(f) for f in findings]}, indent=2))
    else:
        print(title)
        for finding in findings:
            print(_lines(finding))
    return 1 if faults else 0


def _lines(finding: Finding) -> str:
    verdict = VERDICTS[finding.verdict]
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        padded = f"{COLOURS[finding.verdict]}{verdict:<5}\033[0m"
    else:
        padded = f"{verdict:<5}"
    head = f"  {padded}  {finding.name:<{WIDTH}}"
    indent = " " * (9 + WIDTH)
    room = max(60, _columns() - len(indent))
    lines = textwrap.wrap(finding.text, room, break_on_hyphens=False) or [""]
    if finding.fix:
        lines += textwrap.wrap(f"fix: {finding.fix}", room, subsequent_indent="     ", break_on_hyphens=False)
    return head + f"\n{indent}".join(lines)


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 100


def counted(readings: int) -> str:
    """Return a number of readings in words."""
    return f"{readings:,} reading{'s' * (readings != 1)}"


def span(seconds: float) -> str:
    """Return a length of time in its two largest units."""
    rest = int(abs(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if rest >= size or (unit == "s" and not parts):
            parts.append(f"{rest // size} {unit}")
            rest %= size
    return " ".join(parts[:2])
