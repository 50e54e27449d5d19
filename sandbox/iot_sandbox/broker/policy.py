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

CLIENT_ID, ANY_TEXT, ANY_CHARACTER, OR = "\x01", "\x02", "\x03", "\x04"
"""In a compiled pattern: the client's id, ``*``, ``?``, and the separator of two patterns."""

ACTIONS = {
    "iot:Connect": "C",
    "iot:Publish": "P",
    "iot:Receive": "R",
    "iot:RetainPublish": "T",
    "iot:Subscribe": "S",
}

PERSISTENT_ONLY, CLEAN_ONLY = "K", "N"
"""Codes for persistent sessions: K means only connections with one, N beside C those without."""

IS_ATTACHED = "iot:Connection.Thing.IsAttached"
CONNECT_ATTRIBUTES = "iot:ConnectAttributes"
_JUDGED = re.compile(
    r"iot:(ClientId|CertificateId|ConnectAttributes"
    r"|Connection\.Thing\.(IsAttached|ThingName|ThingTypeName|Attributes\[.+\]))"
)
"""Condition keys whose values the broker has before a client connects."""
_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_ESCAPES = {"*": "*", "?": "?", "$": "$"}


@dataclass(frozen=True, slots=True)
class Rule:
    """One effect on actions (codes of ACTIONS) and resources (a compiled pattern of their ARN).

    ``outside``: the rule is for resources that match none of the patterns (NotResource).
    """

    deny: bool
    actions: str
    pattern: str
    outside: bool = False


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing that a certificate is attached to, as policy variables see it."""

    name: str
    type_name: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    groups: Sequence[str] = ()
    """ARNs of its groups and of these groups' parents, whose policies are the thing's, too."""


@dataclass(frozen=True, slots=True)
class Connection:
    """What a certificate and a client id say about a connection.

    ``thing`` is None for client ids that are no attached thing's name; only then may the client id be open
    (None), since the variables of a thing need its name as the client id.
    """

    certificate_id: str
    thing: Thing | None = None

    def variable(self, name: str) -> str | None:
        """The value of a policy variable (CLIENT_ID where it is the connection's own), None if unset."""
        if name == "iot:ClientId":
            return self.thing.name if self.thing else CLIENT_ID
        if name == "iot:CertificateId":
            return self.certificate_id
        return self._thing_variable(name) if self.thing else None

    def _thing_variable(self, name: str) -> str | None:
        assert self.thing is not None  # noqa: S101
        # AWS's pages write the second form as well.
        if name in ("iot:Connection.Thing.ThingName", "iot:Thing.ThingName"):
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
    actions = _connect_letters(statement, connection, deny) + _other_letters(statement, connection, deny)
    if not actions:
        return
    named = "Resource" if "NotResource" not in statement else "NotResource"
    patterns = [compile_pattern(str(resource), connection) for resource in _list(statement.get(named, []))]
    found = [pattern for pattern in patterns if pattern is not None]
    if named == "Resource":
        yield from (Rule(deny, actions, pattern) for pattern in found)
    elif not found:
        yield from [Rule(deny, actions, ANY_TEXT)] if deny else []
    elif deny or None not in patterns:  # a resource that cannot be resolved leaves nothing allowed
        yield Rule(deny, actions, OR.join(found), outside=True)


def _connect_letters(statement: Mapping[str, Any], connection: Connection, deny: bool) -> str:
    if not _names(statement, "iot:Connect"):
        return ""
    clean, persistent = (
        _conditions_hold(statement, connection, attributes, unknown=deny) for attributes in ([], ["PersistentConnect"])
    )
    if clean:
        return ACTIONS["iot:Connect"] if persistent else ACTIONS["iot:Connect"] + CLEAN_ONLY
    return PERSISTENT_ONLY if persistent else ""


def _other_letters(statement: Mapping[str, Any], connection: Connection, deny: bool) -> str:
    if not _conditions_hold(statement, connection, [], unknown=deny):
        return ""
    return "".join(
        letter for action, letter in ACTIONS.items() if action != "iot:Connect" and _names(statement, action)
    )


def _names(statement: Mapping[str, Any], action: str) -> bool:
    """Whether a statement is about an action, by Action or by NotAction."""
    key = "Action" if "NotAction" not in statement else "NotAction"
    patterns = (str(pattern).lower() for pattern in _list(statement.get(key, [])))
    return any(fnmatchcase(action.lower(), pattern) for pattern in patterns) == (key == "Action")


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


def _conditions_hold(
    statement: Mapping[str, Any], connection: Connection, attributes: Sequence[str], unknown: bool
) -> bool:
    """Whether all conditions of a statement hold; ``unknown`` stands for those that cannot be judged here.

    ``attributes`` are the values of iot:ConnectAttributes; a last will, which the plugin does not see, is none.
    """
    held = (
        _condition_holds(operator, key, [_text(value) for value in _list(values)], connection, attributes)
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    )
    return all(unknown if holds is None else holds for holds in held)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _like(actual: str, wanted: str) -> bool:
    return fnmatchcase(actual, wanted.replace("[", "[[]"))


_COMPARISONS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda actual, wanted: actual == wanted,
    "StringEqualsIgnoreCase": lambda actual, wanted: actual.lower() == wanted.lower(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda actual, wanted: actual == wanted.lower(),
}


def _condition_holds(
    operator: str, key: str, wanted: Sequence[str], connection: Connection, attributes: Sequence[str]
) -> bool | None:
    """Whether one condition holds; None if operator or key cannot be judged before a connection is made."""
    quantifier, _, name = operator.rpartition(":")
    optional, name = name.endswith("IfExists"), name.removesuffix("IfExists")
    negated = name.startswith(("StringNot", "ArnNot"))
    compare = _COMPARISONS.get(name.replace("Not", "", 1) if negated else name)
    given = _given(key, connection, attributes)
    if compare is None or CLIENT_ID in given or not _JUDGED.fullmatch(key):
        return None
    if not given:
        return optional or quantifier == "ForAllValues" or (negated and quantifier != "ForAnyValue")
    matched = [any(compare(value, _filled(each, connection)) for each in wanted) != negated for value in given]
    return all(matched) if quantifier == "ForAllValues" else any(matched)


def _given(key: str, connection: Connection, attributes: Sequence[str]) -> Sequence[str]:
    """The values of a condition key; none if it is unset."""
    if key == CONNECT_ATTRIBUTES:
        return attributes
    if key == IS_ATTACHED:
        return ["true" if connection.thing else "false"]
    value = connection.variable(key)
    return [] if value is None else [value]


def _filled(value: str, connection: Connection) -> str:
    return _VARIABLE.sub(lambda match: connection.variable(match[1]) or match[0], value)


def _list(value: object) -> Sequence[Any]:
    return value if _is_list(value) else [value]


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list)
