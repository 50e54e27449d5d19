"""Conditions from outside become HAProxy's words, and nothing more."""

import re

import pytest
from iot_sandbox.load_balancer import expressions
from iot_sandbox.load_balancer.state import Condition, Redirect


@pytest.mark.parametrize(
    ("text", "matches", "refuses"),
    [
        ("/ingest", ["/ingest"], ["/ingest/", "/Ingest", "/ingestx"]),
        ("/ingest/*", ["/ingest/", "/ingest/a/b"], ["/ingest"]),
        ("/a?c", ["/abc", "/a/c"], ["/ac", "/abbc"]),
        ("/a.c'\"$\\", ["/a.c'\"$\\"], ["/abc'\"$\\"]),
        ("/ü", ["/ü".encode().decode("latin-1")], ["/u"]),
    ],
)
def test_pattern(text: str, matches: list[str], refuses: list[str]) -> None:
    expression = re.compile(f"^{expressions.pattern(text)}$")
    assert all(expression.search(path) for path in matches)
    assert not any(expression.search(path) for path in refuses)


def test_pattern_leaves_nothing_for_haproxy_to_read() -> None:
    assert re.fullmatch(r"[A-Za-z0-9\\.*]*", expressions.pattern("/'; { } # ${HOME} \" %[src] -f x\t"))


@pytest.mark.parametrize(
    "condition",
    [
        Condition("http-header", ("x",), name="a) -m found } { always_true"),
        Condition("http-header", ("x",), name="a'b"),
        Condition("http-request-method", ("GET } {",)),
        Condition("source-ip", ("10.0.0.0/8 -f /etc/passwd",)),
        Condition("unheard-of", ("x",)),
    ],
)
def test_what_is_not_valid_is_refused(condition: Condition) -> None:
    with pytest.raises(ValueError, match=r"not|unknown|does not appear"):
        expressions.condition(condition)


def test_redirect_text_is_quoted() -> None:
    redirect = Redirect(301, "HTTPS", "#{host}", "443", '/100%/"#{path}"', "a=$HOME&#{query}")
    address, query = expressions.location(redirect, protocol="HTTP", port=80)
    assert address == r"https://%[req.hdr(host),host_only]:443/100%%/\"%[path,regsub(^/,)]\""
    assert query == r"a=\$HOME&%[query]"


def test_redirect_with_a_line_end_is_refused() -> None:
    redirect = Redirect(301, "HTTPS", "#{host}", "443", "/\r\nSet-Cookie: a=b", "")
    with pytest.raises(ValueError, match="control characters"):
        expressions.location(redirect, protocol="HTTP", port=80)
