"""A cache folder with a plan, and a go command that plays the compiler: it can be slow, killed, or fail."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

TOOL = ROOT / "sandbox/roles/program_builds/files"
sys.path.insert(0, str(TOOL))

from sandbox_build import daemon  # noqa: E402  found by the line above
from sandbox_build.plan import Inputs, Places  # noqa: E402

PLAN = {
    "programs": [
        {
            "name": "first",
            "title": "First",
            "package": "./first",
            "variables": {"v.version": "v1"},
            "links": ["alias"],
        },
        {"name": "second", "title": "Second", "package": "example.test/second", "variables": {}},
    ],
    "images": [
        {
            "name": "first",
            "program": "first",
            "reference": "localhost/first:1",
            "path": "/bin/first",
            "user": "7:7",
        }
    ],
    "charts": [
        {
            "name": "chart",
            "program": "second",
            "module": "example.test/second",
            "path": "helm/chart",
            "version": "v2",
        }
    ],
}

# Compiles five packages a program at one each PACE seconds; each call of `build` notes its arguments.
GO = """#!/bin/sh
case "$1" in
  env) echo go{version} ;;
  mod) ;;
  list) if [ "$2" = -m ]; then echo {module}; else
      if rm {folder}/unreachable 2>/dev/null; then echo dial tcp: broken >&2; exit 1; fi
      echo "go: downloading example.test/a v1" >&2
      for n in 1 2 3 4; do echo package/$n; done; echo "$3"; fi ;;
  build)
    echo "$*" >> {folder}/builds
    while [ "$1" != -o ]; do shift; done
    for n in 1 2 3 4; do sleep $(cat {folder}/pace); echo package/$n >&2; done
    if [ -e {folder}/fails ]; then cat {folder}/fails >&2; exit 1; fi
    echo "$3" >&2; echo "program $3" > "$2"; chmod +x "$2" ;;
esac
"""


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """The playing compiler; `pace` beside it holds its seconds a package, `fails` what it fails with."""
    folder = tmp_path / "toolchain"
    (folder / "helm/chart").mkdir(parents=True)
    (folder / "helm/chart/Chart.yaml").write_text("name: chart\nappVersion: v2\n")
    (folder / "pace").write_text("0")
    program = folder / "go"
    program.write_text(GO.format(folder=folder, module=folder, version="1.26.2"))
    program.chmod(0o755)
    return program


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """What the role hands over."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "go.mod").write_text("module test\n\ngo 1.26.2\n")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("")
    return Inputs(json.dumps(PLAN), source, requirements)


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Places]:
    """A cache; what builds there ends with the test."""
    cache = tmp_path / "cache"
    yield Places(cache, "0123456789ab")
    daemon.stop(cache)
