"""Functions of a message's origin: who published it, where and when."""

from __future__ import annotations

import base64
import uuid

from iot_sandbox.shared.sql.evaluation import Context, EvaluationError, SecretRequest
from iot_sandbox.shared.sql.functions.registry import function
from iot_sandbox.shared.sql.values import UNDEFINED, Value, to_int, to_number


@function("accountid", 0)
def accountid(context: Context) -> Value:
    return context.account_id


@function("clientid", 0)
def clientid(context: Context) -> Value:
    return context.message.client_id


@function("get_mqtt_property", 1)
def get_mqtt_property(context: Context, name: Value) -> Value:
    properties = context.message.properties
    data = properties.correlation_data
    found: dict[str, Value] = {
        "content_type": properties.content_type,
        "correlation_data": None if data is None else base64.b64encode(data).decode(),
        "format_indicator": "UTF8_DATA" if properties.text else "UNSPECIFIED_BYTES",
        "response_topic": properties.response_topic,
    }
    value = found.get(name)
    return UNDEFINED if value is None else value


@function("get_secret", 3, 4, undefined=True)
def get_secret(context: Context, *arguments: Value) -> Value:
    """Read before the evaluation; the rule fails without it."""
    secret_id, secret_type, *key, role_arn = arguments
    request = SecretRequest(secret_id, secret_type, key[0] if key else None, role_arn)
    if not all(isinstance(argument, str) for argument in arguments) or request not in context.secrets:
        raise EvaluationError("The arguments of get_secret() must be strings")
    return context.secrets[request]


@function("get_user_properties", 0, 1)
def get_user_properties(context: Context, key: Value = None) -> Value:
    properties = context.message.properties.user
    if key is None:
        return [{name: value} for name, value in properties]
    return [value for name, value in properties if name == key] or UNDEFINED


@function("newuuid", 0)
def newuuid(context: Context) -> Value:
    return str(uuid.uuid4())


@function("principal", 0)
def principal(context: Context) -> Value:
    return context.message.principal or UNDEFINED


@function("sourceip", 0)
def sourceip(context: Context) -> Value:
    return context.message.source_ip or UNDEFINED


@function("timestamp", 0)
def timestamp(context: Context) -> Value:
    """Milliseconds since 1970, as IoT Core received the message: the same at each try and redelivery."""
    return context.message.received_at


@function("topic", 0, 1)
def topic(context: Context, segment: Value = None) -> Value:
    """The topic, or its segment counted from 1; the prefix of Basic Ingest is no part of it."""
    name = context.message.plain_topic
    if segment is None:
        return name
    parts = name.split("/")
    index = to_int(to_number(segment))
    return parts[index - 1] if 1 <= index <= len(parts) else UNDEFINED


@function("traceid", 0)
def traceid(context: Context) -> Value:
    return context.message.trace_id
