"""Ansible's own checks of both collections, in environments made of what is installed here: nothing is downloaded."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import ansible_collections
import pytest

from tests.support.paths import ROOT

BIN = Path(sys.executable).parent
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
REQUIREMENTS = Path(str(distribution("ansible-core").locate_file("ansible_test/_data/requirements")))
# Those with environments of their own.
PREPARED = ("ansible-doc", "import", "pep8", "pylint", "runtime-metadata", "validate-modules", "yamllint")


class Sanity:
    """Copies of the collections in a tree as ansible-test wants it, and a home with its environments."""

    def __init__(self, folder: Path, collection: str, home: Path) -> None:
        self.collection = folder / "ansible_collections/iotweb" / collection
        self.environment = os.environ | {"HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}",
                                         "LC_ALL": "C.UTF-8"}  # fmt: skip
        shutil.copytree(ROOT / "collections", folder, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
        for place in ansible_collections.__path__:
            if (Path(place) / "amazon").is_dir():
                (folder / "ansible_collections/amazon").symlink_to(Path(place) / "amazon")
                break

    def run(self, *tests: str, option: str = "") -> tuple[int, str]:
        """Run checks, all by one start of ansible-test; returns the status and the output."""
        command = [str(BIN / "ansible-test"), "sanity", "--local", "--python", PYTHON,
                   *(f"--test={test}" for test in tests), *filter(None, [option])]  # fmt: skip
        done = subprocess.run(
            command, cwd=self.collection, env=self.environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def names(self) -> list[str]:
        """Names of all checks that ansible-test has for a collection."""
        return [line for line in self.run(option="--list-tests")[1].splitlines() if re.fullmatch(r"[a-z0-9-]+", line)]

    def prepare(self, test: str) -> None:
        """Make the environments that a check would install its packages in."""
        _, plan = self.run(test, option="--explain")
        for name, place in set(re.findall(r'environment using "venv": (\S*/sanity\.([\w.-]+)/\S+)', plan)):
            self.make(Path(name), place)

    @staticmethod
    def make(place: Path, name: str) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
        (packages,) = place.glob("lib/python*/site-packages")
        pins = re.findall(r"^([\w.-]+)==", (REQUIREMENTS / f"sanity.{name}.txt").read_text(), re.MULTILINE)
        for pin in pins:
            copy(pin, packages)
        yaml = "PyYAML" in pins
        (place / "meta.yaml.json").write_text("true" if yaml else "null")
        (place / "marker.txt").touch()


def copy(package: str, target: Path) -> None:
    """Copy an installed package."""
    found = distribution(package)
    for file in found.files or []:
        if ".." not in file.parts and "__pycache__" not in file.parts:
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(found.locate_file(file)), target / file)


@pytest.fixture(name="home", scope="module")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all, as the environments of the collections are the same."""
    home = tmp_path_factory.mktemp("home")
    sanity = Sanity(tmp_path_factory.mktemp("sanity"), "aws_iot", home)
    for test in PREPARED:
        sanity.prepare(test)
    return home


@pytest.mark.long
@pytest.mark.parametrize("collection", ["aws_iot", "deployment"])
def test_every_check_passes(tmp_path: Path, collection: str, home: Path) -> None:
    sanity = Sanity(tmp_path, collection, home)
    names = sanity.names()
    assert {"action-plugin-docs", "compile", "no-smart-quotes", "shebang", *PREPARED} <= set(names)
    status, output = sanity.run(*names)
    assert status == 0, output
    assert set(re.findall(r'^Running sanity test "([a-z0-9-]+)"', output, re.MULTILINE)) == set(names)
    assert "does not have pip" not in output


def test_an_undocumented_option_is_found(tmp_path: Path, home: Path) -> None:
    sanity = Sanity(tmp_path, "aws_iot", home)
    module = sanity.collection / "plugins/modules/iot_endpoint_info.py"
    module.write_text(module.read_text().replace("argument_spec={", 'argument_spec={"unexplained": {},'))
    status, output = sanity.run("validate-modules")
    assert status != 0
    finding = r"plugins/modules/iot_endpoint_info\.py:\S+ undocumented-parameter: Argument 'unexplained' is listed"
    assert re.search(finding, output), output
