"""ELBv2's conditions in HAProxy's words. Everything from outside is escaped here."""

from __future__ import annotations

import re

from . import state as s

WILDCARDS = {"*": ".*", "?": "."}
SAFE = re.compile(r"[A-Za-z0-9]")


def pattern(text: str) -> str:
    """An ELBv2 pattern (``*`` any text, ``?`` one character) as a regular expression's body.

    Characters other than letters and digits become ``\\xNN``: neither PCRE nor HAProxy's own
    quoting can then read anything into them.
    """
    return "".join(
        WILDCARDS.get(c) or (c if SAFE.match(c) else "".join(f"\\x{byte:02x}" for byte in c.encode()))
        for c in text
    )


def condition(item: s.Condition) -> str:
    """A condition as an anonymous ACL.

    :raises ValueError: for a field that the sandbox does not carry out; an Ingress makes only these two.
    """
    whole = " ".join(f"'^{pattern(value)}$'" for value in item.values)
    match item.field:
        case "path-pattern":  # case-sensitive, without the query
            return f"{{ path -m reg {whole} }}"
        case "host-header":
            return f"{{ req.hdr(host),host_only -m reg -i {whole} }}"
    raise ValueError(f"the sandbox carries out path-pattern and host-header, not {item.field}")


def quote(text: str) -> str:
    """Text for HAProxy's double quotes.

    :raises ValueError: if it holds a line's end or another control character.
    """
    if not text.isprintable():
        raise ValueError(f"control characters in {text!r}")
    return re.sub(r'(["\\$`])', r"\\\1", text)
