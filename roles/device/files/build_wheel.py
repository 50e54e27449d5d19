"""Builds a package's wheel once for each version of its sources: build_wheel.py SOURCE FOLDER [--dry-run].

Prints JSON: changed, digest (of the sources), path. The sources are copied first, since a build leaves files beside
them that a later build would include. No network is needed: setuptools comes from this interpreter's environment.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

EPOCH = "1577836800"  # the files' time, so that the same sources give the same wheel


def sources(folder: Path) -> list[Path]:
    """Return the package's files, relative to its folder, in a fixed order."""
    kept = [folder / "pyproject.toml", *(p for p in folder.glob("*/**/*") if p.suffix in (".py", ".pem", ".typed"))]
    return sorted(p.relative_to(folder) for p in kept if "build" not in p.relative_to(folder).parts)


def digest(folder: Path) -> str:
    """Return a short digest of names and contents."""
    seen = hashlib.sha256()
    for name in sources(folder):
        content = (folder / name).read_bytes()
        seen.update(f"{name}\0{len(content)}\0".encode() + content)
    return seen.hexdigest()[:16]


def wheel_name(folder: Path) -> str:
    """Return the file name of a pure Python package's wheel."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return f"{project['name'].replace('-', '_')}-{project['version']}-py3-none-any.whl"


def build(folder: Path, path: Path) -> None:
    """Build the wheel beside its place, then move it there. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        copy, out = Path(scratch, "source"), Path(scratch, "out")
        for name in sources(folder):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(folder / name, copy / name)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(copy)]
        subprocess.run(command, check=True, stdout=sys.stderr, env=os.environ | {"SOURCE_DATE_EPOCH": EPOCH})
        (out / path.name).rename(path)


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dry-run", action="store_true", help="build nothing, print the result")
    given = parser.parse_args()
    source = given.source.resolve()
    state = digest(source)
    path = given.folder / state / wheel_name(source)
    missing = not path.exists()
    if missing and not given.dry_run:
        path.parent.mkdir(parents=True, exist_ok=True)
        build(source, path)
    print(json.dumps({"changed": missing, "digest": state, "path": str(path)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
