"""requirements.yml, or that of the current Ansible, names what is used as the lock bundles it, and is enough."""

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import ansible
import pytest
import yaml

from tests.support.lines import COLLECTIONS
from tests.support.paths import ROOT

BUNDLE = Path(ansible.__file__).parents[1] / "ansible_collections"
REQUIREMENTS = yaml.safe_load(COLLECTIONS.read_text())["collections"]
REQUIRED = {each["name"]: each["version"] for each in REQUIREMENTS}
FQCN = re.compile(r"\b([a-z]\w+)\.([a-z]\w+)\.([a-z]\w+)\b")
IMPORT = re.compile(r"\bansible_collections\.([a-z]\w+)\.([a-z]\w+)\b")


def manifest(collection: str) -> dict[str, Any]:
    """What a bundled collection says about itself."""
    text = (BUNDLE / collection.replace(".", "/") / "MANIFEST.json").read_text()
    about: dict[str, Any] = json.loads(text)["collection_info"]
    return about


@cache
def used() -> dict[str, set[str]]:
    """Collections of the bundle that the repository's files name, each with the plugins they name."""
    names = subprocess.run(["git", "ls-files", "*.yml", "*.j2", "*.cfg", "*.py"], cwd=ROOT, text=True,
                           capture_output=True, check=True).stdout.splitlines()
    found: dict[str, set[str]] = {}
    for path in (ROOT / name for name in names):
        if not path.exists() or path.is_relative_to(ROOT / "tests/repository"):
            continue
        pattern = IMPORT if path.suffix == ".py" else FQCN
        for match in pattern.finditer(path.read_text()):
            if (BUNDLE / match[1] / match[2] / "MANIFEST.json").exists():
                found.setdefault(f"{match[1]}.{match[2]}", set()).update(match.groups()[2:])
    return found


def test_exactly_what_is_used_is_named() -> None:
    needed = set(used())
    for collection in used():
        needed |= set(manifest(collection)["dependencies"])
    assert set(REQUIRED) == needed


@pytest.mark.parametrize("collection", REQUIRED)
def test_versions_are_those_that_the_lock_bundles(collection: str) -> None:
    assert REQUIRED[collection] == manifest(collection)["version"]


@pytest.fixture(scope="module")
def core_alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of ansible-core with no collection but the project's own and those of requirements.yml."""
    folder = tmp_path_factory.mktemp("collections")
    for place in (collection.replace(".", "/") for collection in REQUIRED):
        shutil.copytree(BUNDLE / place, folder / "ansible_collections" / place)
    return os.environ | {"ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "False", "ANSIBLE_NOCOLOR": "1",
                         "ANSIBLE_COLLECTIONS_PATH": f"{ROOT}/collections:{folder}"}


def run(environment: dict[str, str], program: str, *arguments: str) -> str:
    """What one of Ansible's programs prints."""
    done = subprocess.run([Path(sys.executable).with_name(program), *arguments], cwd=ROOT, env=environment, text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_playbook_runs_with_them_alone(core_alone: dict[str, str], tmp_path: Path) -> None:
    listed = json.loads(run(core_alone, "ansible-galaxy", "collection", "list", "--format", "json"))
    there = {name for each in listed.values() for name in each}
    # ansible._protomatter is a part of ansible-core.
    assert {name for name in there if not name.startswith(("iotweb.", "ansible._"))} == set(REQUIRED)
    run(core_alone, "ansible-playbook", "--syntax-check", "site.yml")
    play = tmp_path / "play.yml"
    play.write_text("""\
- hosts: localhost
  gather_facts: false
  tasks:
    - community.crypto.openssl_privatekey_pipe: {type: ECC, curve: secp256r1}
    - ansible.builtin.assert: {that: "[{'port': 1}] == ([1] | map('community.general.dict_kv', 'port'))"}
""")
    assert "failed=0" in run(core_alone, "ansible-playbook", "-i", "localhost,", "-c", "local", str(play))


def test_each_module_that_is_used_is_among_them(core_alone: dict[str, str]) -> None:
    modules = [f"{collection}.{name}" for collection, names in used().items() for name in names
               if (BUNDLE / collection.replace(".", "/") / "plugins/modules" / f"{name}.py").exists()]
    assert len(modules) > 10
    assert set(json.loads(run(core_alone, "ansible-doc", "--json", *modules))) == set(modules)
