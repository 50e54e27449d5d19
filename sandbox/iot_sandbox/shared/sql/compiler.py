"""Compiles the parse tree of rule SQL to closures: once for a statement, run for every message."""

from __future__ import annotations

import re
from typing import Any

from lark import Token, Transformer, v_args

from iot_sandbox.shared.sql import operators
from iot_sandbox.shared.sql.evaluation import Context, Expression, Item, SecretRequest, Selection, SqlError
from iot_sandbox.shared.sql.functions import CASTS, FUNCTIONS, NOT_EMULATED
from iot_sandbox.shared.sql.values import UNDEFINED, Value, to_boolean, to_number

VERSION = "2016-03-23"
"""SQL version of statements and templates, unless a rule has the older one."""
OLD_VERSION = "2015-10-08"
"""https://docs.aws.amazon.com/iot/latest/developerguide/iot-rule-sql-version.html"""
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def unquote(literal: str) -> str:
    """The text of a string literal: '' within single quotes, backslashes within double quotes."""
    if literal[0] == "'":
        return literal[1:-1].replace("''", "'")
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), literal[1:-1])


def constant(value: Value) -> Expression:
    return Expression(lambda context: value)


@v_args(inline=True)
class Compiler(Transformer[Token, Any]):
    """Turns each node into its Expression (or what its parent makes one of).

    ``secrets`` collects the arguments of get_secret calls: they are looked up before the evaluation.
    """

    def __init__(self, version: str = VERSION) -> None:
        super().__init__()
        self._version = version
        self.secrets: list[tuple[Expression, ...]] = []

    def _since_2016(self, what: str) -> None:
        if self._version != VERSION:
            raise SqlError(f"{what} needs awsIotSqlVersion {VERSION}, the rule has {self._version}")

    # ---- literals and references

    def number(self, token: Token) -> Expression:
        number = to_number(token.replace("+", ""))
        if number is UNDEFINED:
            raise SqlError(f"Numbers go up to 9.99E999, {token} does not")
        return constant(int(number) if token.isdigit() else number)

    def string(self, token: Token) -> Expression:
        return constant(unquote(token))

    def true(self) -> Expression:
        return constant(True)

    def false(self) -> Expression:
        return constant(False)

    def null(self) -> Expression:
        return constant(None)

    def undefined(self) -> Expression:
        return constant(UNDEFINED)

    def payload(self, _: Token) -> Expression:
        def evaluate(context: Context) -> Value:
            return context.message.payload if context.document is UNDEFINED else context.document

        return Expression(evaluate, is_payload=True)

    def attribute(self, token: Token) -> Expression:
        key = str(token)
        return Expression(lambda context: operators.member(context.document, key), key)

    def variable(self, token: Token) -> Expression:
        name = str(token)
        return Expression(lambda context: context.variables.get(name, UNDEFINED), name)

    def member(self, value: Expression, token: Token) -> Expression:
        key, inner = str(token), value.evaluate
        return Expression(lambda context: operators.member(inner(context), key), key)

    def element(self, value: Expression, index: Expression) -> Expression:
        inner, at = value.evaluate, index.evaluate
        return Expression(lambda context: operators.member(inner(context), at(context)), value.name)

    # ---- composites

    def array(self, *members: Expression | None) -> Expression:
        parts = [member.evaluate for member in members if member]

        def evaluate(context: Context) -> Value:
            values = (part(context) for part in parts)
            return [value for value in values if value is not UNDEFINED]

        return Expression(evaluate)

    def pair(self, key: Token, value: Expression) -> Item:
        return Item(value, unquote(key))

    def object(self, *pairs: Item | None) -> Expression:
        members = [(pair.key, pair.expression.evaluate) for pair in pairs if pair]

        def evaluate(context: Context) -> Value:
            values = ((key, part(context)) for key, part in members)
            return {key: value for key, value in values if value is not UNDEFINED}

        return Expression(evaluate)

    def call(self, name: Token, *given: Expression | None) -> Expression:
        arguments = tuple(argument for argument in given if argument)
        key = name.lower()
        if key == "sql_version":
            return constant(self._version)
        if key in NOT_EMULATED:
            raise SqlError(f"The sandbox does not emulate {name}()")
        function = FUNCTIONS.get(key)
        if function is None:
            raise SqlError(f"There is no function {name}()")
        if key == "isundefined":
            self._since_2016(f"{name}()")
        if key == "decode" and len(arguments) > 2:
            raise SqlError("The sandbox does not emulate decode() of protobuf")
        if len(arguments) < function.fewest or len(arguments) > (function.most or len(arguments)):
            return Expression(lambda context: UNDEFINED, key)
        if key == "get_secret":
            self.secrets.append(arguments)
        run, whole = function.run, arguments[0].is_payload if arguments else False
        parts = [argument.evaluate for argument in arguments]

        def evaluate(context: Context) -> Value:
            values = [part(context) for part in parts]
            if whole and function.wants_raw_payload and context.document is context.message.document:
                values[0] = context.message.payload
            return run(context, *values)

        return Expression(evaluate, key)

    def cast(self, value: Expression, target: Token) -> Expression:
        inner, convert = value.evaluate, CASTS.get(target.lower())
        if convert is None:
            raise SqlError(f"cast() has no type {target}")
        if target.lower() == "decimal":
            self._since_2016("cast() to Decimal")

        def evaluate(context: Context) -> Value:
            found = inner(context)
            return found if found is UNDEFINED else convert(found)

        return Expression(evaluate, "cast")

    # ---- operators

    def compare(self, left: Expression, sign: Token, right: Expression) -> Expression:
        a, b, kind = left.evaluate, right.evaluate, str(sign)
        return Expression(lambda context: operators.compare(kind, a(context), b(context)))

    def member_of(self, left: Expression, right: Expression) -> Expression:
        a, b = left.evaluate, right.evaluate

        def evaluate(context: Context) -> Value:
            value, array = a(context), b(context)
            if value is UNDEFINED or not isinstance(array, list):
                return UNDEFINED
            return any(operators.equal(value, item) for item in array)

        return Expression(evaluate)

    def calculate(self, left: Expression, sign: Token, right: Expression) -> Expression:
        a, b, kind = left.evaluate, right.evaluate, str(sign)
        return Expression(lambda context: operators.calculate(kind, a(context), b(context)))

    def signed(self, sign: Token, value: Expression) -> Expression:
        inner, kind = value.evaluate, str(sign)
        return Expression(lambda context: operators.signed(kind, inner(context)))

    def negation(self, value: Expression) -> Expression:
        inner = value.evaluate
        return Expression(lambda context: operators.negate(inner(context)))

    def both(self, left: Expression, right: Expression) -> Expression:
        a, b = left.evaluate, right.evaluate
        return Expression(lambda context: operators.logical("and", a(context), b(context)))

    def either(self, left: Expression, right: Expression) -> Expression:
        a, b = left.evaluate, right.evaluate
        return Expression(lambda context: operators.logical("or", a(context), b(context)))

    def branch(self, condition: Expression, result: Expression) -> tuple[Expression, Expression]:
        return condition, result

    def case(self, value: Expression | None, *rest: Any) -> Expression:
        branches, otherwise = rest[:-1], rest[-1] or constant(UNDEFINED)

        def evaluate(context: Context) -> Value:
            subject = value.evaluate(context) if value else None
            if subject is UNDEFINED:
                return UNDEFINED
            for condition, result in branches:
                met = condition.evaluate(context)
                if operators.compare("=", subject, met) is True if value else to_boolean(met) is True:
                    return result.evaluate(context)
            return otherwise.evaluate(context)

        return Expression(evaluate)

    # ---- statements

    def value(self, expression: Expression) -> Selection:
        return Selection(value=expression)

    def item(self, expression: Expression, *alias: Token | None) -> tuple[Expression, tuple[str, ...]]:
        names = tuple(str(name) for name in alias if name)
        return expression, names or ((expression.name,) if expression.name else ())

    def items(self, *items: tuple[Expression, tuple[str, ...]]) -> Selection:
        # A value without a name of its own is named by its place, counted from 1.
        named = ((e, names or (f"_{place}",)) for place, (e, names) in enumerate(items, 1))
        return Selection(items=tuple(Item(e, names[-1], names[:-1]) for e, names in named))

    def nested(self, selection: Selection, source: Expression, where: Expression | None) -> Expression:
        self._since_2016("SELECT within an expression")

        def evaluate(context: Context) -> Value:
            within = source.evaluate(context)
            if not isinstance(within, list):
                return UNDEFINED if within is UNDEFINED else selection.evaluate(context.inside(within))
            inner = [context.inside(element) for element in within]
            values = [selection.evaluate(c) for c in inner if where is None or to_boolean(where.evaluate(c)) is True]
            return [value for value in values if value is not UNDEFINED]

        return Expression(evaluate, source.name)


def secret_request(arguments: tuple[Expression, ...], context: Context) -> SecretRequest | None:
    """What a get_secret call asks for, None if an argument is no string."""
    values = [argument.evaluate(context) for argument in arguments]
    if not all(isinstance(value, str) for value in values):
        return None
    secret_id, secret_type, *key, role_arn = values
    return SecretRequest(secret_id, secret_type, key[0] if key else None, role_arn)
