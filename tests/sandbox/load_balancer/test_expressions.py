"""Conditions from outside become HAProxy's words, and nothing more."""

import re

import pytest
from iot_sandbox.load_balancer import expressions
from iot_sandbox.load_balancer.state import Condition


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


@pytest.mark.parametrize("field", ["http-header", "query-string", "source-ip", "http-request-method", "unheard-of"])
def test_a_field_that_no_ingress_makes_is_refused(field: str) -> None:
    with pytest.raises(ValueError, match=f"not {field}"):
        expressions.condition(Condition(field, ("x",)))


def test_text_is_quoted() -> None:
    assert expressions.quote('a=$HOME "`\\') == r'a=\$HOME \"\`\\'


def test_text_with_a_line_end_is_refused() -> None:
    with pytest.raises(ValueError, match="control characters"):
        expressions.quote("/\r\nSet-Cookie: a=b")
