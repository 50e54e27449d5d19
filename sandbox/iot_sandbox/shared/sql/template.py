"""Substitution templates: ``${expression}`` within the texts of an action.

https://docs.aws.amazon.com/iot/latest/developerguide/iot-substitution-templates.html
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from iot_sandbox.shared.sql import Context, EvaluationError, SecretRequest, SqlError, compile_expression
from iot_sandbox.shared.sql.compiler import secret_request
from iot_sandbox.shared.sql.evaluation import Expression
from iot_sandbox.shared.sql.values import UNDEFINED, to_text


@dataclass(frozen=True, slots=True)
class Template:
    """A text whose expressions see the message's own payload, not what SELECT made of it."""

    parts: tuple[str | Expression, ...]
    secrets: tuple[tuple[Expression, ...], ...] = ()

    def secret_requests(self, context: Context) -> Iterable[SecretRequest]:
        """The secrets that must be in the context before the template is rendered."""
        return (r for arguments in self.secrets if (r := secret_request(arguments, context)))

    def render(self, context: Context) -> str:
        """The text; raises EvaluationError if an expression is Undefined."""
        return "".join(p if isinstance(p, str) else self._text(p, context) for p in self.parts)

    def _text(self, expression: Expression, context: Context) -> str:
        text = to_text(expression.evaluate(context))
        if text is UNDEFINED:
            raise EvaluationError("A substitution template evaluated to Undefined")
        return str(text)


def compile_template(text: str) -> Template:
    """Compiles a text with templates; raises SqlError."""
    parts: list[str | Expression] = []
    secrets: list[tuple[Expression, ...]] = []
    at = 0
    while (start := text.find("${", at)) >= 0:
        end = _end(text, start + 2)
        expression, calls = compile_expression(text[start + 2 : end])
        parts += [text[at:start], expression]
        secrets.extend(calls)
        at = end + 1
    parts.append(text[at:])
    return Template(tuple(part for part in parts if part != ""), tuple(secrets))


def _end(text: str, at: int) -> int:
    """Where the brace that ends a template stands: braces within strings and object literals do not."""
    depth, quote = 0, ""
    for index in range(at, len(text)):
        character = text[index]
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "{":
            depth += 1
        elif character == "}":
            if depth == 0:
                return index
            depth -= 1
    raise SqlError(f"A substitution template has no end: {text}")
