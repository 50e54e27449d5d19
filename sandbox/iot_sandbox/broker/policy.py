"""IoT policy documents, resolved into rules that the broker's plugin matches without knowing JSON.

What a policy means: https://docs.aws.amazon.com/iot/latest/developerguide/iot-policies.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeGuard

CLIENT_ID, ANY_TEXT, ANY_CHARACTER = "\x01", "\x02", "\x03"
"""What stands in a compiled pattern for the client's id, for ``*`` and for ``?``."""

ACTIONS = {
    "iot:Connect": "C",
    "iot:Publish": "P",
    "iot:Receive": "R",
    "iot:RetainPublish": "T",
    "iot:Subscribe": "S",
}

IS_ATTACHED = "iot:Connection.Thing.IsAttached"
_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_ESCAPES = {"*": "*", "?": "?", "$": "$"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One effect on actions (letters of ACTIONS) and resources (a compiled pattern of their ARN)."""

    deny: bool
    actions: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing that a certificate is attached to, as policy variables see it."""

    name: str
    type_name: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Connection:
    """What is known of a connection before it is made.

    ``thing`` is None for client ids that are no attached thing's name; only then may the client id be open
    (None), since the variables of a thing need its name as the client id.
    """

    certificate_id: str
    thing: Thing | None = None

    def variable(self, name: str) -> str | None:
        """The value of a policy variable (CLIENT_ID where only the connection will tell), None if unset."""
        if name == "iot:ClientId":
            return self.thing.name if self.thing else CLIENT_ID
        if name == "iot:Certificate.Id":
            return self.certificate_id
        return self._thing_variable(name) if self.thing else None

    def _thing_variable(self, name: str) -> str | None:
        assert self.thing is not None  # noqa: S101
        if name == "iot:Connection.Thing.ThingName":
            return self.thing.name
        if name == "iot:Connection.Thing.ThingTypeName":
            return self.thing.type_name
        attribute = re.fullmatch(r"iot:Connection\.Thing\.Attributes\[(.+)\]", name)
        return self.thing.attributes.get(attribute[1]) if attribute else None


def rules(documents: Iterable[str], connection: Connection) -> list[Rule]:
    """The rules that policy documents (JSON) give a connection.

    A document that is no valid policy gives none: IoT Core would not have stored it.
    """
    found: list[Rule] = []
    for document in documents:
        for statement in _statements(document):
            found.extend(_statement_rules(statement, connection))
    return found


def _statements(document: str) -> list[Mapping[str, Any]]:
    try:
        statements = json.loads(document)["Statement"]
    except (ValueError, KeyError, TypeError):
        return []
    return [s for s in _list(statements) if isinstance(s, dict)]


def _statement_rules(statement: Mapping[str, Any], connection: Connection) -> Iterable[Rule]:
    deny = statement.get("Effect") == "Deny"
    if not deny and statement.get("Effect") != "Allow":
        return
    # what cannot be judged never allows and always denies
    if not _conditions_hold(statement.get("Condition", {}), connection, unknown=deny):
        return
    actions = "".join(
        letter
        for action, letter in ACTIONS.items()
        if any(fnmatchcase(action.lower(), str(a).lower()) for a in _list(statement.get("Action", [])))
    )
    for resource in _list(statement.get("Resource", [])):
        pattern = compile_pattern(str(resource), connection)
        if actions and pattern is not None:
            yield Rule(deny, actions, pattern)


def compile_pattern(resource: str, connection: Connection) -> str | None:
    """A resource's pattern with its variables filled in, or None if one is unset: then it matches nothing."""
    if any(character < " " for character in resource):
        return None
    parts: list[str] = []
    for index, part in enumerate(_VARIABLE.split(resource)):
        if index % 2 == 0:
            parts.append(part.replace("*", ANY_TEXT).replace("?", ANY_CHARACTER))
            continue
        value = _ESCAPES.get(part) or connection.variable(part)
        if value is None:
            return None
        parts.append(value)
    return "".join(parts)


def _conditions_hold(conditions: Mapping[str, Mapping[str, Any]], connection: Connection, unknown: bool) -> bool:
    """Whether all conditions of a statement hold; ``unknown`` stands for those not known here."""
    held = (
        _condition_holds(
            operator, key, [str(v).lower() if isinstance(v, bool) else str(v) for v in _list(values)], connection
        )
        for operator, keys in conditions.items()
        for key, values in keys.items()
    )
    return all(unknown if holds is None else holds for holds in held)


_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda actual, wanted: actual == wanted,
    "StringEqualsIgnoreCase": lambda actual, wanted: actual.lower() == wanted.lower(),
    "StringLike": lambda actual, wanted: fnmatchcase(actual, wanted.replace("[", "[[]")),
    "Bool": lambda actual, wanted: actual == wanted.lower(),
}


def _condition_holds(operator: str, key: str, wanted: Sequence[str], connection: Connection) -> bool | None:
    """Whether one condition holds; None if its operator is not known, or its value not before a connection is."""
    operator = operator.removeprefix("ForAnyValue:").removeprefix("ForAllValues:")
    optional, operator = operator.endswith("IfExists"), operator.removesuffix("IfExists")
    negated = operator.startswith("StringNot")
    compare = _COMPARISONS.get(operator.replace("StringNot", "String"))
    if key == IS_ATTACHED:
        actual: str | None = "true" if connection.thing else "false"
    else:
        actual = connection.variable(key)
    if compare is None or actual == CLIENT_ID or not key.startswith("iot:"):
        return None
    if actual is None:
        return optional or negated
    return negated != any(compare(actual, _filled(value, connection)) for value in wanted)


def _filled(value: str, connection: Connection) -> str:
    return _VARIABLE.sub(lambda match: connection.variable(match[1]) or match[0], value)


def _list(value: object) -> Sequence[Any]:
    return value if _is_list(value) else [value]


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list)
