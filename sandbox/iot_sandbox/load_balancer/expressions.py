"""ELBv2's conditions and redirects in HAProxy's words. Everything from outside is escaped here."""

from __future__ import annotations

import ipaddress
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

    :raises ValueError: for a field that ELBv2 does not have.
    """
    whole = " ".join(f"'^{pattern(value)}$'" for value in item.values)
    match item.field:
        case "path-pattern":  # case-sensitive, without the query
            return f"{{ path -m reg {whole} }}"
        case "host-header":
            return f"{{ req.hdr(host),host_only -m reg -i {whole} }}"
        case "http-header":
            return f"{{ req.fhdr({header(item.name)}) -m reg -i {whole} }}"
        case "http-request-method":
            return f"{{ method -m str {' '.join(word(value) for value in item.values)} }}"
        case "source-ip":
            return f"{{ src -m ip {' '.join(network(value) for value in item.values)} }}"
        case "query-string":
            pairs = " ".join(
                f"'(^|&){pattern(key) if key else '[^=&]*'}={wild(value)}(&|$)'" for key, value in item.pairs
            )
            return f"{{ query -m reg -i {pairs} }}"
    raise ValueError(f"unknown condition {item.field}")


def wild(value: str) -> str:
    """A query value's pattern, whose wildcards stop at the next parameter."""
    return pattern(value).replace(".*", "[^&]*")


def header(name: str) -> str:
    """A header's name, checked.

    :raises ValueError: if it is none.
    """
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or set(name) & set("()'#$\"`|&"):
        raise ValueError(f"not a header name: {name!r}")
    return name.lower()


def word(value: str) -> str:
    """A method, checked.

    :raises ValueError: if it holds anything but capitals, ``-`` and ``_``.
    """
    if not re.fullmatch(r"[A-Z_-]+", value):
        raise ValueError(f"not a request method: {value!r}")
    return value


def network(value: str) -> str:
    """An address range, checked.

    :raises ValueError: if it is none.
    """
    return str(ipaddress.ip_network(value, strict=False))


def location(redirect: s.Redirect, *, protocol: str, port: int) -> tuple[str, str]:
    """A redirect's address without the query, and the query, as HAProxy log formats."""
    parts = f"{redirect.protocol.lower()}://{redirect.host}:{redirect.port}{redirect.path}"
    return _format(parts, protocol, port), _format(redirect.query, protocol, port)


def _format(text: str, protocol: str, port: int) -> str:
    values = {
        "protocol": protocol.lower(),
        "port": str(port),
        "host": "%[req.hdr(host),host_only]",
        "path": "%[path,regsub(^/,)]",
        "query": "%[query]",
    }
    pieces = re.split(r"#\{(protocol|port|host|path|query)\}", text)
    literal = (re.sub(r"%", "%%", quote(piece)) for piece in pieces[::2])
    inserted = [values[name] for name in pieces[1::2]] + [""]
    return "".join(a + b for a, b in zip(literal, inserted, strict=True))


def quote(text: str) -> str:
    """Text for HAProxy's double quotes.

    :raises ValueError: if it holds a line's end or another control character.
    """
    if not text.isprintable():
        raise ValueError(f"control characters in {text!r}")
    return re.sub(r'(["\\$`])', r"\\\1", text)
