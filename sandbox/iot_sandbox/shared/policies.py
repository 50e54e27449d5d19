"""What IAM policies allow: actions, resources and the conditions that occur in practice.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any

Context = Mapping[str, Sequence[str]]  # values of condition keys
Statement = Mapping[str, Any]


class Decision(StrEnum):
    """The outcomes of an evaluation, as the simulator names them."""

    ALLOWED = "allowed"
    DENIED = "explicitDeny"
    NOT_ALLOWED = "implicitDeny"


def decide(documents: Sequence[str], action: str, resource: str | None, context: Context | None) -> Decision:
    """Evaluate identity policies (JSON documents): a denial wins, what is not named is not allowed.

    What is not known (None) is taken in the caller's favour: any resource, every condition.
    """
    decision = Decision.NOT_ALLOWED
    for document in documents:
        for statement in statements(document):
            if _applies(statement, action, resource, context):
                if statement.get("Effect") == "Deny":
                    return Decision.DENIED
                decision = Decision.ALLOWED
    return decision


def statements(document: str) -> Iterator[Statement]:
    """Statements of a policy document."""
    found = json.loads(document or "{}").get("Statement", [])
    yield from [found] if isinstance(found, dict) else found


def trusts(document: str, service: str) -> bool:
    """Whether a role's trust policy (JSON) lets an AWS service assume the role."""
    effects = [
        statement.get("Effect")
        for statement in statements(document)
        if isinstance(statement.get("Principal"), dict)
        and service in listed(statement["Principal"].get("Service"))
        and any(_like("sts:assumerole", action.lower()) for action in listed(statement.get("Action")))
    ]
    return "Allow" in effects and "Deny" not in effects


def listed(value: Any) -> list[str]:
    """The strings of a member that may be one string or a list."""
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def conditions_hold(statement: Statement, context: Context) -> bool:
    """Whether all conditions of a statement hold; one with an operator unknown here does not."""
    known = {key.lower(): values for key, values in context.items()}
    return all(
        _holds(operator, listed(wanted), known.get(key.lower()))
        for operator, keys in (statement.get("Condition") or {}).items()
        for key, wanted in keys.items()
    )


def _applies(statement: Statement, action: str, resource: str | None, context: Context | None) -> bool:
    allows = statement.get("Effect") != "Deny"
    if "NotAction" in statement:
        named = not any(_like(action.lower(), each.lower()) for each in listed(statement["NotAction"]))
    else:
        named = any(_like(action.lower(), each.lower()) for each in listed(statement.get("Action")))
    if resource is None:
        meant = allows or "*" in listed(statement.get("Resource"))
    elif "NotResource" in statement:
        meant = not any(_like(resource, each) for each in listed(statement["NotResource"]))
    else:
        meant = any(_like(resource, each) for each in listed(statement.get("Resource")))
    held = (allows or not statement.get("Condition")) if context is None else conditions_hold(statement, context)
    return named and meant and held


def _holds(operator: str, wanted: list[str], given: Sequence[str] | None) -> bool:
    prefix, _, plain = operator.rpartition(":")
    if plain == "Null":
        return (given is None) == (wanted[0].lower() == "true")
    name = plain.removesuffix("IfExists")
    if given is None:
        return plain.endswith("IfExists") or prefix == "ForAllValues"
    negated = "Not" in name
    test = TESTS.get(name.replace("Not", ""))
    if test is None:
        return False
    matched = [any(test(value, each) for each in wanted) for value in given]
    if prefix == "ForAllValues":
        return all(m != negated for m in matched)
    return not any(matched) if negated else any(matched)


def _like(value: str, pattern: str) -> bool:
    return _expression(pattern).fullmatch(value) is not None


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    """IAM's wildcards: `*` for any text, `?` for one character; all else stands for itself."""
    return re.compile(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


TESTS: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringEqualsIgnoreCase": lambda value, wanted: value.lower() == wanted.lower(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda value, wanted: value.lower() == wanted.lower(),
}
