"""A container image of one static program, without a builder: the archive `docker save` would write.

Format: https://github.com/moby/docker-image-spec/blob/main/v1.2.md. The same program gives the same bytes.
"""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

from .plan import Image


def write(image: Image, program: Path, archive: Path, architecture: str) -> None:
    """Write the image's archive, whole or not at all. `architecture` is Go's name for it (amd64, arm64)."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    layer, fresh = (archive.with_name(f".{archive.name}.{part}") for part in ("layer", "new"))
    with tarfile.open(layer, "w") as tar:
        add_folders(tar, image.path)
        with program.open("rb") as content:
            tar.addfile(entry(image.path, size=program.stat().st_size, mode=0o755), content)
    digest = file_digest(layer)
    config = encode(configuration(image, digest, architecture))
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = encode([{"Config": name, "RepoTags": [image.reference], "Layers": [f"{digest}/layer.tar"]}])
    with tarfile.open(fresh, "w") as tar, layer.open("rb") as content:
        tar.addfile(entry("manifest.json", size=len(manifest)), io.BytesIO(manifest))
        tar.addfile(entry(name, size=len(config)), io.BytesIO(config))
        tar.addfile(entry(f"{digest}/layer.tar", size=layer.stat().st_size), content)
    layer.unlink()
    fresh.replace(archive)


def configuration(image: Image, layer_digest: str, architecture: str) -> dict[str, Any]:
    """Return the image's configuration; `layer_digest` is the SHA-256 of its one layer, uncompressed."""
    return {
        "architecture": architecture,
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": image.user,
            "Entrypoint": [image.path],
            "Env": ["PATH=/bin:/usr/bin"],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": f"sandbox: {image.program}"}],
    }


def add_folders(tar: tarfile.TarFile, path: str) -> None:
    """Add the folders above a program, and /tmp, which programs in an otherwise empty image still expect."""
    for folder in reversed(Path(path.lstrip("/")).parents[:-1]):
        tar.addfile(entry(str(folder), kind=tarfile.DIRTYPE, mode=0o755))
    tar.addfile(entry("tmp", kind=tarfile.DIRTYPE, mode=0o1777))


def entry(path: str, *, size: int = 0, mode: int = 0o644, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    """Return a member that carries no time and no owner but root, so that equal content is equal bytes."""
    member = tarfile.TarInfo(path.lstrip("/"))
    member.size, member.mode, member.type = size, mode, kind
    return member


def file_digest(file: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def encode(value: object) -> bytes:
    """Write JSON in one form only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def architecture(machine: str | None = None) -> str:
    """Return Go's name of a machine's architecture (this one's, unless given)."""
    machine = machine or os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
