#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: device_kit_archive
version_added: 2.0.0
short_description: Write a private zip archive with exactly these members
description:
  - Reads a member, or writes the archive where a member's content or mode differs.
  - The archive is replaced at once, so that an interruption leaves the old or the new one.
  - It can be encrypted with ansible-vault. The contents are compared, so that a new salt alone changes nothing.
author:
  - IoT receiver contributors (@iotweb)
options:
  path: {description: The archive., type: path, required: true}
  vault_password_file:
    description: File with the password, or a program that prints it, as for ansible-vault.
    type: path
  former:
    description: The archive in its other form, encrypted or not; it is converted if it exists, and deleted.
    type: path
  read: {description: Name of a member to return; nothing is written then., type: str}
  members:
    description: The members the archive has, beside those that are kept.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name in the archive., type: str, required: true}
      content: {description: Content., type: str}
      source: {description: File with the content., type: path}
      mode: {description: Mode when unpacked., type: str, default: '0644'}
  wheels: {description: Folder whose wheels go into C(wheels/) of the archive., type: path}
  keep: {description: Names of members that stay as they are., type: list, elements: str, default: []}
extends_documentation_fragment:
  - iotweb.aws_iot.attributes
"""

EXAMPLES = r"""
- name: Write the kit
  iotweb.deployment.device_kit_archive:
    path: build/kits/kit-1.zip
    members: [{name: device.pem.crt, content: "{{ pem }}"}]
    keep: [private.pem.key]
"""

RETURN = r"""
content: {description: Content of the member that was read; null where there is none., type: str, returned: with read}
"""

import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

VAULT_HEADER = b"$ANSIBLE_VAULT;"
EPOCH = (2020, 1, 1, 0, 0, 0)
Members = dict[str, tuple[bytes, int]]  # by name: content and mode


class VaultError(RuntimeError):
    """ansible-vault failed, with its own message."""


def vault(action: str, password_file: str, content: bytes) -> bytes:
    """Encrypt or decrypt by ansible-vault. Raises VaultError."""
    beside = Path(sys.executable).with_name("ansible-vault")
    command = [str(beside) if beside.exists() else "ansible-vault", action, "--output", "-"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    try:
        # an empty configuration, since one with passwords of its own makes the choice ambiguous
        with tempfile.NamedTemporaryFile(suffix=".cfg") as empty:
            done = subprocess.run(
                [*command, "--vault-password-file", password_file, "-"], input=content, capture_output=True,
                check=False, env=environment | {"ANSIBLE_CONFIG": empty.name, "ANSIBLE_NOCOLOR": "1"},
            )  # fmt: skip
    except OSError as error:
        raise VaultError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode:
        raise VaultError(done.stderr.decode(errors="replace").strip().splitlines()[-1])
    return done.stdout


def held(path: Path, password_file: str | None) -> Members:
    """Return the members of an archive; none if it does not exist. Raises zipfile.BadZipFile, VaultError."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    if content.startswith(VAULT_HEADER):
        if not password_file:
            raise VaultError(f"{path} is encrypted: set device_kit_vault_password_file")
        content = vault("decrypt", password_file, content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {
            entry.filename: (archive.read(entry), entry.external_attr >> 16 & 0o777) for entry in archive.infolist()
        }


def wheels(folder: str | None) -> list[dict[str, Any]]:
    """Return members for the wheels of a folder."""
    found = sorted(Path(folder).glob("*.whl")) if folder else []
    return [{"name": f"wheels/{path.name}", "source": str(path), "mode": "0644"} for path in found]


def wanted(current: Members, members: list[dict[str, Any]], keep: list[str], check: bool) -> Members:
    """Return the desired members. Raises OSError for a source that cannot be read.

    In check mode a source that an earlier task would have made may be missing: it counts as different.
    """
    kept = {name: current[name] for name in keep if name in current}
    given = {}
    for member in members:
        source = member["source"]
        if source:
            content = b"" if check and not Path(source).exists() else Path(source).read_bytes()
        else:
            content = member["content"].encode()
        given[member["name"]] = (content, int(member["mode"], 8))
    return kept | given


def packed(members: Members) -> bytes:
    """Return an archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (text, mode) in sorted(members.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (0o100000 | mode) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, text)
    return content.getvalue()


def write(path: Path, content: bytes) -> None:
    """Replace the file; from its first byte only the owner can read it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def main() -> None:
    member = {
        "name": {"required": True},
        "content": {"no_log": False},
        "source": {"type": "path"},
        "mode": {"default": "0644"},
    }
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "vault_password_file": {"type": "path", "no_log": False},
            "former": {"type": "path"},
            "read": {},
            "members": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": member,
                "mutually_exclusive": [("content", "source")],
                "required_one_of": [("content", "source")],
            },
            "wheels": {"type": "path"},
            "keep": {"type": "list", "elements": "str", "default": [], "no_log": False},
        },
        supports_check_mode=True,
    )
    path, password_file = Path(module.params["path"]), module.params["vault_password_file"]
    former = Path(module.params["former"]) if module.params["former"] else None
    try:
        before = held(path, password_file)
        if former and not path.exists():
            before = held(former, password_file)
        if module.params["read"]:
            found = before.get(module.params["read"])
            module.exit_json(changed=False, content=found[0].decode() if found else None)
        members = module.params["members"] + wheels(module.params["wheels"])
        after = wanted(before, members, module.params["keep"], module.check_mode)
        private = not path.exists() or path.stat().st_mode & 0o777 == 0o600
        leftover = former is not None and former.exists()
        changed = before != after or not private or leftover
        if changed and not module.check_mode:
            content = packed(after)
            write(path, vault("encrypt", password_file, content) if password_file else content)
            if former and leftover:
                former.unlink()
    except VaultError as error:
        module.fail_json(msg=f"{path}: {error}")
    except zipfile.BadZipFile:
        module.fail_json(msg=f"{path} is not a zip file: delete it, and set device_kit_reissue=true to make a new kit.")
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    differing = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    module.exit_json(changed=changed, diff={"before": "", "after": "".join(f"{name}\n" for name in differing)})


if __name__ == "__main__":
    main()
