"""Substitution templates in the texts of actions."""

from __future__ import annotations

import pytest
from iot_sandbox.shared.sql import Context, EvaluationError, SecretRequest, SqlError
from iot_sandbox.shared.sql.message import Message
from iot_sandbox.shared.sql.template import compile_template

MESSAGE = Message("a/b", b'{"id": "x", "n": 1.50, "o": {"k": [true]}}', "sensor-1", None, "trace", 1)
SECRET = SecretRequest("s", "SecretString", "key", "arn:role")


def render(text: str) -> str:
    context = Context(MESSAGE, MESSAGE.document, "123456789012", {SECRET: "hidden"}, {"v": 7})
    return compile_template(text).render(context)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("$5 {} }", "$5 {} }"),
        ("${topic()}", "a/b"),
        ("https://h/${topic(1)}/${id}?n=${n + 1}", "https://h/a/x?n=2.50"),
        ("${o}", '{"k":[true]}'),
        ("${ {'a': '}'}.a }", "}"),
        ("${concat('{', \"}\", '${')}", "{}${"),
        ("${@v}", "7"),
        ("Bearer ${get_secret('s', 'SecretString', 'key', 'arn:role')}", "Bearer hidden"),
    ],
)
def test_templates(text: str, expected: str) -> None:
    assert render(text) == expected


def test_secrets_are_named_beforehand() -> None:
    template = compile_template(
        "${get_secret('s', 'SecretString', 'key', 'arn:role')}${get_secret('t', 'SecretString', id)}"
    )
    requests = list(template.secret_requests(Context(MESSAGE, MESSAGE.document, "1")))
    assert requests == [SECRET, SecretRequest("t", "SecretString", None, "x")]


def test_undefined_fails() -> None:
    with pytest.raises(EvaluationError, match="Undefined"):
        render("x${missing}")


@pytest.mark.parametrize("text", ["${topic(}", "${", "${}", "${nosuch()}", "${'}"])
def test_broken_templates_are_refused(text: str) -> None:
    with pytest.raises(SqlError):
        compile_template(text)
