"""Two lines of Ansible: the last one for Python 3.11, and the current one."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.paths import ROOT


def locked(lock: str) -> dict[str, str]:
    """Versions of a lock by package."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements" / lock).read_text(), re.MULTILINE))


def collections(file: str) -> dict[str, str]:
    """Versions of collections by name."""
    return {each["name"]: each["version"] for each in yaml.safe_load((ROOT / file).read_text())["collections"]}


@pytest.mark.parametrize(
    ("minor", "lock"), [(11, "controller.txt"), (12, "controller-3.12.txt"), (13, "controller-3.12.txt")]
)
def test_make_installs_the_lock_of_its_python(minor: int, lock: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"""#!/bin/sh
        exec /usr/bin/env python3 -c "import sys; sys.version_info = (3, {minor}); exec(sys.argv[1])" "$2"
    """)
    python.chmod(0o755)
    (tmp_path / "requirements").symlink_to(ROOT / "requirements")
    command = ["make", "--dry-run", "-C", str(tmp_path), "-f", str(ROOT / "Makefile"), "setup", f"PYTHON={python}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f'echo "Installing requirements/{lock} into .venv"' in done.stdout


def test_lines_differ_by_ansible_and_what_it_bundles() -> None:
    old, current = locked("controller.txt"), locked("controller-3.12.txt")
    assert (old["ansible-core"].rpartition(".")[0], current["ansible-core"].rpartition(".")[0]) == ("2.19", "2.21")
    assert set(current) <= set(old) | {"ansible", "ansible-core"}
    bundled = collections("requirements.yml"), collections("requirements-3.12.yml")
    assert set(bundled[0]) <= set(bundled[1])
    version = tuple(map(int, bundled[1]["kubernetes.core"].split(".")))
    assert version >= (6, 4), "the current line is the one that knows Helm 4"
