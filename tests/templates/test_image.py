"""The image's name, and how its build learns where packages come from."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.paths import ROOT


def module(path: str) -> ModuleType:
    """A role's module, imported from its file."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


content = module("collections/ansible_collections/iotweb/deployment/plugins/modules/content_digest.py")
pip = module("collections/ansible_collections/iotweb/deployment/plugins/modules/pip_settings.py")
builder = module("collections/ansible_collections/iotweb/deployment/plugins/modules/image_builder.py")
debian = module("sandbox/roles/debian_image/library/debian_image.py")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """What an image is made from."""
    (tmp_path / "app").mkdir()
    (tmp_path / "Dockerfile").write_text("FROM x")
    (tmp_path / "app" / "main.py").write_text("1")
    return tmp_path


def named(source: Path, more: str = "base") -> str:
    """The digest of all of it."""
    digest: str = content.digest(source, ["Dockerfile", "app"], more)
    return digest


def test_tag_is_one_that_registries_take(source: Path) -> None:
    assert len(named(source)) == 16
    assert set(named(source)) <= set("0123456789abcdef")


def test_same_content_has_the_same_tag_wherever_and_whenever(source: Path, tmp_path: Path) -> None:
    before = named(source)
    (source / "app" / "main.py").touch()
    (source / "app" / "__pycache__").mkdir()
    (source / "app" / "__pycache__" / "main.pyc").write_text("x")
    (source / "app" / ".mypy_cache").mkdir()
    (source / "app" / ".mypy_cache" / "x").write_text("x")
    (source / "README").write_text("not part of the image")
    assert named(source) == before


def test_every_other_content_has_another_tag(source: Path) -> None:
    seen = {named(source), named(source, "other base")}
    (source / "app" / "main.py").write_text("2")
    seen.add(named(source))
    (source / "app" / "main.py").rename(source / "app" / "run.py")
    seen.add(named(source))
    (source / "app" / "run.py").chmod(0o755)
    seen.add(named(source))
    (source / "Dockerfile").write_text("FROM y")
    seen.add(named(source))
    assert len(seen) == 6


def test_content_that_is_not_there_is_an_error(source: Path) -> None:
    with pytest.raises(FileNotFoundError):
        content.digest(source, ["requirements.txt"], "")


def test_build_gets_pips_settings_of_this_machine() -> None:
    listing = (
        "global.index-url='https://user:pa=ss@index.example/simple'\n"
        "global.cert='/etc/one.pem'\n"
        "install.trusted-host='index.example'\n"
        ":env:.cert='/etc/two.pem'\n"
        ":env:.find-links='/opt/wheels https://wheels.example/'\n"
        ":env:.client-cert='/etc/key.pem'\n"
        ":env:.disable-pip-version-check='1'\n"
    )
    found = pip.settings(listing, {"REQUESTS_CA_BUNDLE": "/etc/three.pem"})
    assert found["cert"] == "/etc/two.pem"
    assert pip.carried(found) == {
        "index-url": "https://user:pa=ss@index.example/simple",
        "trusted-host": "index.example",
        "find-links": "https://wheels.example/",
    }


def test_proxy_and_authorities_of_the_environment_count_too() -> None:
    environment = {"CURL_CA_BUNDLE": "/etc/ca.pem", "https_proxy": "http://proxy.example:3128"}
    found = pip.settings("", environment)
    assert found == {"cert": "/etc/ca.pem", "proxy": "http://proxy.example:3128"}


def test_machine_without_settings_gives_none() -> None:
    assert pip.carried(pip.settings("", {})) == {}


def program(folder: Path, text: str) -> str:
    """A program that answers as the test says."""
    file = folder / "docker"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize(
    ("text", "works"),
    [
        ("echo Storage", True),
        ("echo 'WARNING: No swap limit support' >&2", True),
        ("echo 'ERROR: Cannot connect to the Docker daemon' >&2; exit 0", False),
        ("exit 125", False),
        ("[ $1 != buildx ]", False),
    ],
)
def test_builder_that_does_not_work_is_not_chosen(tmp_path: Path, text: str, works: bool) -> None:
    assert (builder.fault(program(tmp_path, text), []) == "") is works


def test_builder_is_asked_as_it_will_be_used(tmp_path: Path) -> None:
    asked = program(tmp_path, '[ "$*" = "--root /x info" ] || [ "$*" = "--root /x buildx version" ]')
    assert builder.fault(asked, ["--root", "/x"]) == ""


def test_missing_builder_is_named() -> None:
    assert builder.fault("no-such-builder", []) == "no-such-builder is not installed"


def test_base_comes_from_the_machines_own_mirror() -> None:
    targets = (
        "http://mirror.example/debian/ bookworm main\n"
        "http://mirror.example/debian/ bookworm contrib\n"
        "http://mirror.example/security/ bookworm-security main\n"
        "https://node.example/ nodistro main\n"
    )
    assert debian.sources("bookworm", targets) == [
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/security/ bookworm-security main",
    ]


@pytest.mark.parametrize("targets", ["", "http://archive.ubuntu.example/ubuntu/ noble main\n"])
def test_base_comes_from_the_tools_own_mirror_where_the_machine_has_another_release(targets: str) -> None:
    assert debian.sources("bookworm", targets) == []


def test_proxies_of_apt_are_kept() -> None:
    dump = 'Acquire "";\nAcquire::http "";\nAcquire::http::Proxy "http://p:3142";\nAcquire::Languages "en";\n'
    assert debian.proxies(dump) == ['Acquire::http::Proxy "http://p:3142";']


def test_image_takes_nothing_that_is_not_locked() -> None:
    installs = re.findall(r"pip install ([^&\\\n]*)", (ROOT / "Dockerfile").read_text())
    assert [install.split()[0] for install in installs] == ["--require-hashes", "--no-index"]
    assert "--no-build-isolation" in installs[1]
    lock = (ROOT / "requirements/service.txt").read_text()
    major = re.search(r"^setuptools==([0-9]+)[0-9.]* \\\n    --hash=sha256:", lock, re.MULTILINE)
    assert major is not None
    assert int(major[1]) >= 77
