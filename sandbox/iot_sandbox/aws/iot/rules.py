"""Checks of a topic rule's payload that AWS IoT makes when a rule is created or replaced.

https://docs.aws.amazon.com/iot/latest/apireference/API_CreateTopicRule.html
https://docs.aws.amazon.com/iot/latest/developerguide/https-rule-action.html
https://docs.aws.amazon.com/iot/latest/developerguide/http_batching.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from moto.iot.exceptions import InvalidRequestException, IoTClientError
from moto.iot.models import FakeRule

from iot_sandbox.aws.iot.destinations import check_https_url
from iot_sandbox.shared.sql import OLD_VERSION, SqlError, compile_statement
from iot_sandbox.shared.sql.template import compile_template

MAX_ACTIONS = 10
MAX_HEADERS = 100
SQL_VERSIONS = ("2015-10-08", "2016-03-23", "beta")
BATCH_LIMITS = {"maxBatchOpenMs": (5, 200), "maxBatchSize": (2, 10), "maxBatchSizeBytes": (100, 131_072)}
TEMPLATE = "${"

Action = Mapping[str, Any]


class SqlParseError(IoTClientError):
    """The rules engine cannot run the statement or a template of an action."""

    def __init__(self, message: str) -> None:
        super().__init__("SqlParseException", message)


class Rule(FakeRule):
    """A rule that answers with the members it was given, and no others."""

    def to_get_dict(self) -> dict[str, Any]:
        """GetTopicRule's answer."""
        answer = super().to_get_dict()
        if not self.error_action:
            answer["rule"].pop("errorAction")
        return answer


def topic_pattern(sql: str) -> str | None:
    """The topic filter of a checked statement's FROM, None for a statement without one."""
    return compile_statement(sql).topic_filter


def check(payload: Mapping[str, Any], assumable: Callable[[str], bool]) -> None:
    """Raise InvalidRequestException or SqlParseError for what AWS refuses.

    `assumable(role_arn)`: whether the role exists and trusts iot.amazonaws.com.
    """
    version = payload.get("awsIotSqlVersion") or OLD_VERSION
    if version not in SQL_VERSIONS:
        raise InvalidRequestException(f"awsIotSqlVersion must be one of {', '.join(SQL_VERSIONS)}, got {version!r}")
    _check_sql(lambda sql: compile_statement(sql, version), str(payload.get("sql") or ""))
    actions: Sequence[Action] = payload.get("actions") or []
    if len(actions) > MAX_ACTIONS:
        raise InvalidRequestException(f"A rule can have at most {MAX_ACTIONS} actions, got {len(actions)}")
    error_action: Action | None = payload.get("errorAction") or None
    for action in actions:
        _check_action(action, "actions", assumable)
    if error_action:
        _check_action(error_action, "errorAction", assumable)
        if (error_action.get("http") or {}).get("enableBatching"):
            raise InvalidRequestException("errorAction does not support batching")


def http_confirmation_urls(payload: Mapping[str, Any]) -> Iterator[str]:
    """Confirmation URLs of the rule's HTTP actions, the URL itself where none is given.

    Those with substitution templates are left out: AWS makes no destination for them.
    """
    for action in [*(payload.get("actions") or []), payload.get("errorAction") or {}]:
        http = action.get("http")
        if http:
            url = http.get("confirmationUrl") or http["url"]
            if TEMPLATE not in url:
                yield url


def _check_sql(compiled: Callable[[str], object], text: str) -> None:
    try:
        compiled(text)
    except SqlError as error:
        raise SqlParseError(str(error)) from error


def _texts(value: Any) -> Iterator[str]:
    """Every text within an action; in each there may be templates."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, Sequence)):
        for member in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(member)


def _check_action(action: Action, where: str, assumable: Callable[[str], bool]) -> None:
    given = {name: value for name, value in action.items() if value is not None}
    if len(given) != 1:
        raise InvalidRequestException(f"{where}: an action has exactly one type, got {sorted(given)}")
    (kind, value), *_ = given.items()
    if kind == "http":
        _check_http(value, where)
    for text in _texts(value):
        _check_sql(compile_template, text)
    role = value.get("roleArn") if isinstance(value, Mapping) else None
    if role and not assumable(role):
        raise InvalidRequestException(f"Unable to assume role, role ARN: {role}")


def _check_http(http: Mapping[str, Any], where: str) -> None:
    url = http.get("url") or ""
    confirmation = http.get("confirmationUrl")
    if TEMPLATE in url:
        if not confirmation:
            raise InvalidRequestException(f"{where}.http: a url with substitution templates needs a confirmationUrl")
    else:
        check_https_url(url, f"{where}.http.url")
    if confirmation:
        check_https_url(confirmation.replace(TEMPLATE, ""), f"{where}.http.confirmationUrl")
        if not url.startswith(confirmation):
            raise InvalidRequestException(f"{where}.http: confirmationUrl must be a prefix of url")
    headers = http.get("headers") or []
    if len(headers) > MAX_HEADERS:
        raise InvalidRequestException(f"{where}.http: at most {MAX_HEADERS} headers, got {len(headers)}")
    for header in headers:
        if not header.get("key") or header.get("value") is None or TEMPLATE in header["key"]:
            raise InvalidRequestException(f"{where}.http: a header has a literal key and a value")
    for name, (low, high) in BATCH_LIMITS.items():
        number = (http.get("batchConfig") or {}).get(name)
        if number is not None and not low <= number <= high:
            raise InvalidRequestException(f"{where}.http.batchConfig.{name} must be {low} to {high}, got {number}")
