"""A rule's whole statement: what it selects, from which topics, and when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedInput, VisitError

from iot_sandbox.shared.sql.compiler import OLD_VERSION, VERSION, Compiler, secret_request, unquote
from iot_sandbox.shared.sql.evaluation import Context, Expression, SecretRequest, Selection, SqlError
from iot_sandbox.shared.sql.topics import is_filter
from iot_sandbox.shared.sql.values import Value, to_boolean

MAX_VARIABLES = 10
MAX_NAME = 64


@dataclass(frozen=True, slots=True)
class Statement:
    """A compiled statement; ``topic_filter`` is None if it has no FROM (rules for basic ingest only)."""

    selection: Selection
    topic_filter: str | None
    where: Expression | None
    variables: tuple[tuple[str, Expression], ...]
    secrets: tuple[tuple[Expression, ...], ...]

    def with_variables(self, context: Context) -> Context:
        """The context for the rest of the rule, including its actions' templates."""
        for name, expression in self.variables:
            context = replace(context, variables={**context.variables, name: expression.evaluate(context)})
        return context

    def applies(self, context: Context) -> bool:
        """Whether WHERE lets the message through: anything but true does not."""
        return self.where is None or to_boolean(self.where.evaluate(context)) is True

    def select(self, context: Context) -> Value:
        """The payload for the actions; bytes if it is the message's own and not JSON."""
        return self.selection.evaluate(context)

    def secret_requests(self, context: Context) -> Iterable[SecretRequest]:
        """The secrets that the context needs before anything else is evaluated."""
        return (r for arguments in self.secrets if (r := secret_request(arguments, context)))


@v_args(inline=True)
class _StatementCompiler(Compiler):
    """A statement declares its variables before it uses them; templates take them from the context."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self._declared: set[str] = set()

    def variable(self, token: Token) -> Expression:
        if token not in self._declared:
            raise SqlError(f"SET does not declare @{token} before it is used")
        return super().variable(token)

    def assignment(self, name: Token, expression: Expression) -> tuple[str, Expression]:
        if len(name) > MAX_NAME:
            raise SqlError(f"A variable's name has at most {MAX_NAME} characters, @{name} has {len(name)}")
        if name in self._declared:
            raise SqlError(f"SET declares @{name} twice")
        self._declared.add(str(name))
        return str(name), expression

    def statement(self, *parts: object) -> Statement:
        *assignments, selection, source, where = parts
        variables = [a for a in assignments if isinstance(a, tuple)]
        if len(variables) > MAX_VARIABLES:
            raise SqlError(f"SET declares at most {MAX_VARIABLES} variables")
        topic_filter = unquote(source) if isinstance(source, Token) else None
        if topic_filter is not None and not is_filter(topic_filter):
            raise SqlError(f"FROM {topic_filter!r} is no topic filter: + is a whole level, # the last one")
        return Statement(
            selection,  # type: ignore[arg-type]
            topic_filter,
            where if isinstance(where, Expression) else None,
            tuple(variables),
            tuple(self.secrets),
        )


@lru_cache(1)
def _parser() -> Lark:
    grammar = (files(__package__) / "grammar.lark").read_text()
    return Lark(grammar, parser="lalr", start=["statement", "expression"], maybe_placeholders=True)


def _compile(compiler: Transformer[Token, object], text: str, start: str) -> object:
    try:
        return compiler.transform(_parser().parse(text, start=start))
    except UnexpectedInput as error:
        where = text[max(error.pos_in_stream or 0, 0) :][:20] or "its end"
        raise SqlError(f"Not rule SQL at {where!r}: {text}") from error
    except VisitError as error:
        if isinstance(error.orig_exc, SqlError):
            raise error.orig_exc from error
        raise


def compile_statement(sql: str, version: str = VERSION) -> Statement:
    """Compiles a rule's statement; raises SqlError, which names what is not emulated."""
    if version not in (VERSION, OLD_VERSION):
        raise SqlError(f"The sandbox does not emulate awsIotSqlVersion {version}")
    statement = _compile(_StatementCompiler(version), sql, "statement")
    assert isinstance(statement, Statement)  # noqa: S101
    return statement


def compile_expression(text: str) -> tuple[Expression, tuple[tuple[Expression, ...], ...]]:
    """Compiles an expression of a template, with the arguments of its get_secret calls; raises SqlError."""
    compiler = Compiler()
    expression = _compile(compiler, text, "expression")
    assert isinstance(expression, Expression)  # noqa: S101
    return expression, tuple(compiler.secrets)
