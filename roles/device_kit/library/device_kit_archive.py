"""Ansible module: a zip with private members, compared by content and replaced whole."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: device_kit_archive
short_description: A zip of 0600 holds exactly these members
description:
  - Reads a member, or writes the archive where a member's content or mode differs.
  - The new archive takes the old one's place at once, so that an interruption leaves one or the other.
author: IoT receiver contributors (@iotweb)
options:
  path: {description: The archive., type: path, required: true}
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
  keep: {description: Names of members that stay as they are., type: list, elements: str, default: []}
"""
EXAMPLES = """
- name: Kit is complete
  device_kit_archive:
    path: build/kits/kit-1.zip
    members: [{name: device.pem.crt, content: "{{ pem }}"}]
    keep: [private.pem.key]
"""
RETURN = """
content: {description: Content of the member that was read; null where there is none., type: str, returned: with read}
"""

EPOCH = (2020, 1, 1, 0, 0, 0)
Members = dict[str, tuple[bytes, int]]  # by name: content and mode


def held(path: Path) -> Members:
    """Return the members of an archive; none where it isn't there. Raises zipfile.BadZipFile."""
    if not path.exists():
        return {}
    with zipfile.ZipFile(path) as archive:
        return {
            entry.filename: (archive.read(entry), entry.external_attr >> 16 & 0o777) for entry in archive.infolist()
        }


def wanted(current: Members, members: list[dict[str, Any]], keep: list[str], check: bool) -> Members:
    """Return the members as they should be. Raises OSError for a source that can't be read.

    In check mode a source may be missing, as an earlier task only would have made it: it counts as different.
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


def write(path: Path, members: Members) -> None:
    """Put a new archive in the place of the old one; from its first byte only the owner can read it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, (content, mode) in sorted(members.items()):
                entry = zipfile.ZipInfo(name, EPOCH)
                entry.external_attr = (0o100000 | mode) << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def main() -> None:
    """Run the module."""
    member = {
        "name": {"required": True},
        "content": {"no_log": False},
        "source": {"type": "path"},
        "mode": {"default": "0644"},
    }
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "read": {},
            "members": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": member,
                "mutually_exclusive": [("content", "source")],
                "required_one_of": [("content", "source")],
            },
            "keep": {"type": "list", "elements": "str", "default": [], "no_log": False},
        },
        supports_check_mode=True,
    )
    path = Path(module.params["path"])
    try:
        before = held(path)
        if module.params["read"]:
            content = before.get(module.params["read"])
            module.exit_json(changed=False, content=content[0].decode() if content else None)
        after = wanted(before, module.params["members"], module.params["keep"], module.check_mode)
        private = not path.exists() or path.stat().st_mode & 0o777 == 0o600
        changed = before != after or not private
        if changed and not module.check_mode:
            write(path, after)
    except zipfile.BadZipFile:
        module.fail_json(msg=f"{path} is no zip: delete it, and set device_kit_reissue=true to make a new kit.")
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}")
    differing = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    module.exit_json(changed=changed, diff={"before": "", "after": "".join(f"{name}\n" for name in differing)})


if __name__ == "__main__":
    main()
