"""Writes what is generated of the documentation, or checks that it is up to date.

    python -m tests.docs [--write]

Each role's README.md comes from its meta/argument_specs.yml, docs/operator-policy-*.json from preflight's list of
permissions. Exits with 1 and names the files that differ; with --write it writes them.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
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


def operator_policies() -> dict[Path, str]:
    """The policies of an operator who uses all that the stack offers, by file; what to fill in is in capitals."""
    with TemporaryDirectory() as folder:
        variables = {
            "ansible_python_interpreter": sys.executable,
            "aws_account_id": "ACCOUNT", "aws_region": "REGION", "deployment_workdir": folder,
            "terraform_backend": {"type": "s3", "config": {"bucket": "STATE_BUCKET", "key": "STATE_KEY"}},
            "terraform_variables": {
                "cluster_addons": {"aws-ebs-csi-driver": {}}, "cluster_admin_arns": ["another"],
                "cluster_private_access_cidrs": ["10.0.0.0/8"], "iot_log_level": "ERROR",
            },
        }  # fmt: skip
        role = ["-m", "ansible.builtin.include_role", "-a", "name=preflight tasks_from=policy"]
        ansible = [f"{ROOT}/.venv/bin/ansible", "localhost", "-i", "localhost,", "-c", "local", *role]
        done = subprocess.run([*ansible, "-e", json.dumps(variables)], cwd=ROOT, text=True, capture_output=True,
                              check=False)  # fmt: skip
        written = sorted(Path(folder).glob("operator-policy-*.json"))
        if done.returncode or not written:
            sys.exit(f"the operator's policies could not be generated:\n{done.stdout}{done.stderr}")
        return {ROOT / "docs" / file.name: file.read_text() for file in written}


def generated() -> dict[Path, str]:
    """All generated files with what they must hold."""
    specs = sorted(each for top in ("roles", "sandbox/roles") for each in ROOT.glob(f"{top}/*/meta/argument_specs.yml"))
    roles = {spec.parents[1]: yaml.safe_load(spec.read_text()) for spec in specs}
    return {role / "README.md": readme(role, spec) for role, spec in roles.items()} | operator_policies()


def main() -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write what differs")
    write = parser.parse_args().write
    stale = []
    for target, text in generated().items():
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
