#!/usr/bin/python
"""Module `debian_image`: an image of a minimal Debian, made from packages."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: debian_image
short_description: Make an image archive of a minimal Debian
description:
  - Installs packages into an empty folder with mmdebstrap, and writes what C(docker save) would write.
  - The machine's own package sources are used where they hold the release, Debian's otherwise; its
    proxies are used, too.
options:
  archive:
    description: The file to make; left as it is when it is there.
    type: path
    required: true
  reference:
    description: The image's name in the archive.
    type: str
    required: true
  suite:
    description: Debian's release, by its code name.
    type: str
    required: true
  packages:
    description: Packages beside Debian's essential ones; those they only recommend are left out.
    type: list
    elements: str
    required: true
attributes:
  check_mode: {support: full}
author:
  - IoT receiver contributors
"""

EXAMPLES = r"""
- name: Image is there
  debian_image:
    archive: /var/cache/base.tar
    reference: localhost/base:1
    suite: bookworm
    packages: [python3]
"""

RETURN = r"""
archive:
  description: The file.
  type: str
  returned: always
"""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NOT_INSTALLED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*")


def sources(suite: str, targets: str) -> list[str]:
    """Lines of a sources.list: this machine's own for the suite; none, for mmdebstrap's choice, without them.

    :param targets: `<URI> <release> <component>` lines, as `apt-get indextargets` gives them.
    """
    releases = (suite, f"{suite}-updates", f"{suite}-security")
    own = [line.split() for line in targets.splitlines() if len(line.split()) == 3]
    found = [
        f"deb {uri} {release} main" for uri, release, part in own if release in releases and part == "main"
    ]
    if f" {suite} main" in " ".join(found):
        return list(dict.fromkeys(found))
    return []


def proxies(configuration: str) -> list[str]:
    """The proxy settings in what `apt-config dump` prints."""
    return [line for line in configuration.splitlines() if "proxy" in line.lower() and '""' not in line]


def machine(*command: str) -> str:
    """What a command of apt prints; empty where apt has nothing to say."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def bootstrap(suite: str, packages: list[str], rootfs: Path) -> None:
    """Write a root file system as a tar archive. Raises CalledProcessError with mmdebstrap's words."""
    own = machine(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"
    )
    command = ["mmdebstrap", "--mode=root", "--variant=essential", "--format=tar"]
    # With merged /usr made beforehand, the package usrmerge and Perl with it can stay out.
    command += ["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--include=usr-is-merged"]
    command += [f"--include={package}" for package in packages]
    command += [f"--dpkgopt=path-exclude={path}" for path in NOT_INSTALLED]
    command += ['--aptopt=APT::Install-Recommends "false"', f"--keyring={KEYRING}"]
    command += [f"--aptopt={line}" for line in proxies(machine("apt-config", "dump", "Acquire"))]
    command += [suite, str(rootfs), *sources(suite, own)]
    subprocess.run(command, capture_output=True, text=True, check=True)


def write_archive(rootfs: Path, archive: Path, reference: str, architecture: str) -> None:
    """Write the archive of an image with one layer, whole or not at all.

    https://github.com/moby/docker-image-spec/blob/main/v1.2.md
    """
    with rootfs.open("rb") as content:
        layer = hashlib.file_digest(content, "sha256").hexdigest()
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": [f"{layer}/layer.tar"]}]
    fresh = archive.with_name(f".{archive.name}.new")
    with tarfile.open(fresh, "w") as tar, rootfs.open("rb") as content:
        for member, text in (("manifest.json", json.dumps(manifest).encode()), (name, config)):
            info = tarfile.TarInfo(member)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
        info = tarfile.TarInfo(f"{layer}/layer.tar")
        info.size = rootfs.stat().st_size
        tar.addfile(info, content)
    fresh.replace(archive)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "archive": {"type": "path", "required": True},
            "reference": {"type": "str", "required": True},
            "suite": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    archive = Path(module.params["archive"])
    if archive.exists() or module.check_mode:
        module.exit_json(changed=not archive.exists(), archive=str(archive))
    if not KEYRING.exists():
        module.fail_json(msg=f"{KEYRING} is missing: apt-get install debian-archive-keyring")
    archive.parent.mkdir(parents=True, exist_ok=True)
    # mmdebstrap mounts inside its folder, which must therefore allow devices and programs.
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".base.") as work:
        rootfs = Path(work) / "rootfs.tar"
        os.environ["TMPDIR"] = work
        try:
            bootstrap(module.params["suite"], module.params["packages"], rootfs)
        except OSError as error:
            module.fail_json(msg=f"mmdebstrap cannot be run: {error.strerror}. apt-get install mmdebstrap")
        except subprocess.CalledProcessError as error:
            module.fail_json(msg=f"mmdebstrap failed:\n{error.stderr.strip()[-3000:]}")
        architecture = machine("dpkg", "--print-architecture").strip()
        write_archive(rootfs, archive, module.params["reference"], architecture)
    module.exit_json(changed=True, archive=str(archive))


if __name__ == "__main__":
    main()
