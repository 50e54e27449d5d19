"""Image archives: what a container runtime reads in them, and that they are the same every time."""

import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import IO

import pytest
from sandbox_build import images
from sandbox_build.plan import Image

IMAGE = Image("demo", "localhost/demo:1", "demo", "/usr/bin/demo", "65532:65532")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    program = tmp_path / "demo"
    program.write_bytes(b"\x7fELF" + bytes(range(256)) * 1000)
    target = tmp_path / "images" / "demo.tar"
    images.write(IMAGE, program, target, "amd64")
    return target


def member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(name)
    assert found is not None
    return found


def test_manifest_leads_to_configuration_and_layer(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        [manifest] = json.load(member(tar, "manifest.json"))
        config = json.load(member(tar, manifest["Config"]))
        [layer] = [hashlib.sha256(member(tar, name).read()).hexdigest() for name in manifest["Layers"]]
    assert manifest["RepoTags"] == ["localhost/demo:1"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{layer}"]
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert config["config"]["User"] == "65532:65532"
    assert config["config"]["Entrypoint"] == ["/usr/bin/demo"]


def test_layer_holds_the_program_and_a_tmp_for_all(archive: Path) -> None:
    with tarfile.open(archive) as tar:
        [manifest] = json.load(member(tar, "manifest.json"))
        with tarfile.open(fileobj=member(tar, manifest["Layers"][0])) as layer:
            content = {item.name: (item.mode, item.isdir(), item.uid, item.size) for item in layer}
    assert content == {
        "usr": (0o755, True, 0, 0),
        "usr/bin": (0o755, True, 0, 0),
        "tmp": (0o1777, True, 0, 0),
        "usr/bin/demo": (0o755, False, 0, 256_004),
    }


def test_equal_programs_are_equal_archives(archive: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    images.write(IMAGE, tmp_path / "demo", again, "amd64")
    assert again.read_bytes() == archive.read_bytes()


def test_a_failed_write_leaves_the_old_archive(archive: Path, tmp_path: Path) -> None:
    before = archive.read_bytes()
    with pytest.raises(FileNotFoundError):
        images.write(IMAGE, tmp_path / "missing", archive, "amd64")
    assert archive.read_bytes() == before


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
def test_skopeo_reads_it(archive: Path) -> None:
    command = ["skopeo", "inspect", "--config", f"docker-archive:{archive}"]
    config = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert config["config"]["Entrypoint"] == ["/usr/bin/demo"]


@pytest.mark.parametrize(("machine", "name"), [("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")])
def test_architecture_is_named_as_go_does(machine: str, name: str) -> None:
    assert images.architecture(machine) == name
