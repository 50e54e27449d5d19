"""A block of /etc/hosts that this program owns."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

BEGIN = "# BEGIN IoT receiver sandbox: load balancers"
END = "# END IoT receiver sandbox: load balancers"
BLOCK = re.compile(rf"^{re.escape(BEGIN)}\n.*?^{re.escape(END)}\n", re.MULTILINE | re.DOTALL)


def with_names(text: str, address: str, names: Iterable[str]) -> str:
    """The file's text with exactly these names in the block, or without the block if there are none."""
    lines = "".join(f"{address} {name}\n" for name in sorted(set(names)))
    rest = BLOCK.sub("", text)
    if not lines:
        return rest
    return f"{rest}{'' if rest.endswith(chr(10)) or not rest else chr(10)}{BEGIN}\n{lines}{END}\n"


def update(path: Path, address: str, names: Iterable[str]) -> bool:
    """Update the block, and return whether the file changed."""
    old = path.read_text()
    new = with_names(old, address, names)
    if new == old:
        return False
    part = path.with_name(f".{path.name}.sandbox")
    part.write_text(new)
    part.chmod(path.stat().st_mode & 0o777)
    try:
        part.replace(path)
    except OSError:  # in a container, /etc/hosts is a mount of its own and cannot be replaced
        part.unlink()
        path.write_text(new)
    return True
