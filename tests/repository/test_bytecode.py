"""Environments keep the byte code of what their Python imports from archives, as Ansible's modules are."""

import json
import marshal
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SOURCE = "def name():\n    return __file__, name.__code__.co_filename\n"


@pytest.fixture(name="environment")
def _environment(tmp_path: Path) -> Path:
    """A folder with what `make setup` copies into an environment."""
    (tmp_path / "kept_bytecode.py").write_bytes((ROOT / "requirements/kept_bytecode.py").read_bytes())
    return tmp_path


def imported(environment: Path, archive: str, source: str = SOURCE) -> object:
    """What name() returns in a process that imports its module from an archive."""
    with zipfile.ZipFile(environment / archive, "w") as file:
        file.writestr("module.py", source)
    program = "import kept_bytecode, json, module; print(json.dumps(module.name()))"
    variables = os.environ | {"PYTHONPATH": f"{environment}:{environment / archive}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True)
    returned: object = json.loads(done.stdout)
    return returned


def kept(environment: Path) -> list[Path]:
    """The files with byte code."""
    return sorted(environment.glob("__pycache__/zipped-*/*"))


def test_code_is_compiled_once_whatever_the_archive(environment: Path) -> None:
    imported(environment, "one.zip")
    [file] = kept(environment)
    file.write_bytes(marshal.dumps(compile("def name(): return 'kept'", "elsewhere", "exec")))
    assert imported(environment, "another.zip") == "kept"


def test_another_source_is_compiled_again(environment: Path) -> None:
    imported(environment, "one.zip")
    assert imported(environment, "one.zip", "def name(): return 'new'") == "new"
    assert len(kept(environment)) == 2


def test_tracebacks_name_the_archive_at_hand(environment: Path) -> None:
    for archive in ("one.zip", "another.zip"):
        assert imported(environment, archive) == [str(environment / archive / "module.py")] * 2


def test_damaged_code_is_compiled_again(environment: Path) -> None:
    names = imported(environment, "one.zip")
    [file] = kept(environment)
    file.write_bytes(file.read_bytes()[:50])
    assert imported(environment, "one.zip") == names
    assert len(file.read_bytes()) > 50
