"""Writes each role's README.md from its meta/argument_specs.yml, or checks that it is up to date.

    python -m tests.docs [--write]

Exits with 1 and names the READMEs that differ; with --write it writes them.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.paths import ROOT


def paragraph(text: str | list[str]) -> str:
    """One line of Markdown out of an argument spec's text, which may be a list of sentences with Ansible's markup."""
    sentences = [text] if isinstance(text, str) else text
    return re.sub(r"\b[CVO]\(([^()]*)\)", r"`\1`", " ".join(" ".join(sentence.split()) for sentence in sentences))


def cell(value: object) -> str:
    """A value as it is read in a table's cell."""
    return str(value).replace("|", "\\|").replace("\n", " ")


def default(option: dict[str, Any]) -> str:
    """How an option's default reads: required options have none."""
    if option.get("required"):
        return "required"
    if "default" not in option:
        return ""
    value = option["default"]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{cell(text)}`" if text else "empty"


def rows(options: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """A table row for every option, members of dictionaries after the dictionary itself."""
    for name, option in options.items():
        kind = option.get("type", "str")
        if kind == "list":
            kind = f"list of {option.get('elements', 'str')}"
        text = paragraph(option.get("description", ""))
        if "choices" in option:
            text += " One of " + ", ".join(f"`{choice}`" for choice in option["choices"]) + "."
        yield f"| `{prefix}{name}` | {kind} | {default(option)} | {cell(text)} |"
        yield from rows(option.get("options", {}), f"{prefix}{name}.")


def readme(role: Path, spec: dict[str, Any]) -> str:
    """The whole README of a role."""
    lines = [f"# {role.name}", ""]
    for entry, points in spec["argument_specs"].items():
        if entry not in ("main", "defaults"):
            lines += [f"## tasks_from: {entry}", ""]
        lines += [paragraph(points.get("description", points.get("short_description", ""))), ""]
        if points.get("options"):
            lines += ["| variable | type | default | what it is |", "| --- | --- | --- | --- |"]
            lines += [*rows(points["options"]), ""]
    if "role: deployment_defaults" in (role / "meta/main.yml").read_text():
        lines += ["Variables shared with other roles: [deployment_defaults](../deployment_defaults/README.md).", ""]
    lines.append("Generated from meta/argument_specs.yml by `make docs`.")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write what differs")
    write = parser.parse_args().write
    stale = []
    for spec_file in sorted([*ROOT.glob("roles/*/meta/argument_specs.yml"),
                             *ROOT.glob("sandbox/roles/*/meta/argument_specs.yml")]):
        role = spec_file.parent.parent
        text = readme(role, yaml.safe_load(spec_file.read_text()))
        target = role / "README.md"
        if target.exists() and target.read_text() == text:
            continue
        stale.append(str(target.relative_to(ROOT)))
        if write:
            target.write_text(text)
    for name in stale:
        print(f"{'written' if write else 'out of date, run `make docs`'}: {name}")
    return 1 if stale and not write else 0


if __name__ == "__main__":
    sys.exit(main())
