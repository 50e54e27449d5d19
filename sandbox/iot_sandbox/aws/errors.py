"""Errors in AWS's own forms for calls that moto lacks or that fail inside it.

moto answers those with an HTML page and status 500, which SDKs retry for minutes. AWS's forms:
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/CommonErrors.html
https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html#operation-error-serialization
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4
from xml.sax.saxutils import escape

XML_SERVICES = {"s3", "route53", "cloudfront", "s3control"}
SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")


class UnknownServiceError(Exception):
    """moto has no such service."""


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def status_line(self) -> str:
        """The status as WSGI wants it."""
        return f"{self.status} {'OK' if self.status == 200 else 'Error'}"


def service_of(environ: Mapping[str, Any]) -> str:
    """The service that a request was signed for, empty for an unsigned one."""
    found = SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    return found.group(1) if found else ""


def unknown_call(environ: Mapping[str, Any], detail: str) -> Answer:
    """The emulator does not have this call. SDKs do not retry (status 400)."""
    return error(environ, 400, "UnknownOperationException", f"The sandbox does not emulate this call: {detail}")


def internal_error(environ: Mapping[str, Any], detail: str) -> Answer:
    """The emulator failed; 501 since SDKs retry 500, and the same call would fail the same way."""
    return error(environ, 501, "InternalFailure", f"The sandbox failed in this call (its log has the trace): {detail}")


def error(environ: Mapping[str, Any], status: int, code: str, message: str) -> Answer:
    """An error in the form of the request's protocol."""
    request_id = str(uuid4())
    service = service_of(environ)
    if environ.get("HTTP_X_AMZ_TARGET"):
        body = json.dumps({"__type": code, "message": message, "Message": message})
        kind = "application/x-amz-json-1.1"
    elif service == "ec2":
        body = (
            f"<Response><Errors><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
        kind = "text/xml"
    elif "form-urlencoded" in environ.get("CONTENT_TYPE", "") or service in XML_SERVICES:
        body = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        kind = "text/xml"
    else:
        body = json.dumps({"message": message, "Message": message})
        kind = "application/json"
    headers = (
        ("Content-Type", kind),
        ("x-amzn-ErrorType", code),
        ("x-amzn-RequestId", request_id),
    )
    return Answer(status, headers, body.encode())
