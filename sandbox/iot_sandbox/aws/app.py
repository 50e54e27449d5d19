"""The whole endpoint as one WSGI application: the sandbox's own paths, DynamoDB, and moto for the rest."""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote

from moto.iot.exceptions import IoTClientError
from moto.iot.models import iot_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from iot_sandbox.aws import (
    access,
    acm,
    calls,
    changes,
    dynamodb,
    ec2,
    ecr,
    eks,
    elbv2,
    errors,
    fleets,
    iam,
    identities,
    logs,
    route53,
    secretsmanager,
    seed,
    servicequotas,
    sqs,
    ssm,
    sts,
    token_review,
)
from iot_sandbox.aws.errors import Answer
from iot_sandbox.aws.iot import responses as iot
from iot_sandbox.aws.iot.backend import SandboxIoTBackend
from iot_sandbox.aws.settings import Settings

log = logging.getLogger(__name__)

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
CONFIRM = "/confirmdestination/"
REGION = re.compile(r"Credential=[^/]+/\d{8}/([^/]+)/")


class _Moto(DomainDispatcherApplication):
    """moto's server, with a clear error for a service that it does not have."""

    def get_backend_for_host(self, host: str | None) -> Any:
        backend = super().get_backend_for_host(host)
        if backend is None and host is not None:
            raise errors.UnknownServiceError(host)
        return backend


class Application:
    """WSGI application; made once per process."""

    def __init__(self, config: Settings) -> None:
        for service in (iot, ec2, fleets, eks, acm, elbv2, ecr, iam, logs, route53, secretsmanager, servicequotas, sqs,
                        ssm, sts):  # fmt: skip
            service.install()
        seed.hosted_zones(config.account_id, config.hosted_zones)
        self._config = config
        self._calls = calls.Calls(config)
        identity = uuid.uuid4().hex
        self._documents: dict[str, Callable[[], dict[str, Any]]] = {
            "/sandbox/identity": lambda: {"id": identity},
            "/sandbox/health": lambda: {"status": "ok", "id": identity},
            "/sandbox/calls": self._calls.document,
            "/sandbox/changes": lambda: {"id": identity, "number": changes.number()},
        }
        self._moto = _Moto(create_backend_app)
        self._dynamodb = dynamodb.DynamoDB(config.dynamodb_url, config.account_id) if config.dynamodb_url else None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        kinds = self._calls.add(environ)
        answer = self._refused(environ, kinds) or self._own(environ)
        if answer is not None:
            return _send(answer, start_response)
        body = self._by_moto(environ, start_response)
        changes.note_calls(action for _, action, _ in kinds)
        if environ.get("PATH_INFO", "").startswith("/moto-api/"):  # moto's own, such as reset
            changes.note()
        return body

    def _refused(self, environ: Environ, kinds: Sequence[calls.Kind]) -> Answer | None:
        found = REGION.search(environ.get("HTTP_AUTHORIZATION", ""))
        region = found.group(1) if found else ""
        for key, action, resource in kinds:
            reason = access.refusal(self._config, key, action, resource, region)
            if reason:
                return access.denied(environ, reason)
        return None

    def _own(self, environ: Environ) -> Answer | None:
        path = environ.get("PATH_INFO", "")
        if path == "/sandbox/access":
            asked = dict(parse_qsl(environ.get("QUERY_STRING", "")))
            reason = access.refusal(self._config, asked.get("key", ""), asked.get("action", ""), "", "")
            return Answer(200, (("Content-Type", "text/plain; charset=utf-8"),), reason.encode())
        if path in self._documents:
            return _plain(self._documents[path]())
        if path == "/sandbox/token-review":
            return self._review(_body(environ))
        if path.startswith(CONFIRM) and not environ.get("HTTP_AUTHORIZATION"):
            return self._confirm(unquote(path.removeprefix(CONFIRM)))
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if self._dynamodb and dynamodb.TARGET.fullmatch(target):
            found = REGION.search(environ.get("HTTP_AUTHORIZATION", ""))
            headers = {k[5:].replace("_", "-"): str(v) for k, v in environ.items() if k.startswith("HTTP_")}
            headers["Content-Type"] = environ.get("CONTENT_TYPE", "")
            return self._dynamodb.handle(target, found.group(1) if found else "us-east-1", headers, _body(environ))
        return None

    def _confirm(self, token: str) -> Answer:
        """The unsigned GET of a confirmation message's enableUrl, which names no account."""
        for _, _, backend in iot_backends.iter_backends():
            if isinstance(backend, SandboxIoTBackend):
                try:
                    backend.destinations.confirm(token)
                except IoTClientError:
                    continue
                changes.note()
                return _plain({})
        return _plain({"message": "The confirmation token is invalid or has expired"}, 400)

    def _review(self, body: bytes) -> Answer:
        try:
            request = json.loads(body)
        except ValueError:
            return _plain({"message": "POST a TokenReview of authentication.k8s.io/v1"}, 400)
        own_host = self._config.public_url.partition("://")[2]
        config = self._config
        return _plain(
            token_review.review(
                request,
                lambda key: identities.identity_of(config, key),
                identities.clusters(config),
                own_host,
            )
        )

    def _by_moto(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start(status: str, headers: list[tuple[str, str]], *_: Any) -> None:
            started.append((status, headers))

        call = f"{environ.get('REQUEST_METHOD')} {environ.get('PATH_INFO')}"
        try:
            body = b"".join(self._moto(environ, start))
            status, headers = started[-1]
        except NotImplementedError as error:
            return _send(errors.unknown_call(environ, str(error)), start_response)
        except errors.UnknownServiceError as error:
            return _send(errors.unknown_call(environ, f"{error}: {call}"), start_response)
        except Exception as error:
            log.exception("%s failed", call)
            return _send(errors.internal_error(environ, repr(error)), start_response)
        # Flask's page: a path that moto does not route. An empty answer: a REST call that moto does not have.
        html = any(k.lower() == "content-type" and v.startswith("text/html") for k, v in headers)
        if status.startswith("404") and errors.service_of(environ) not in errors.XML_SERVICES and (html or not body):
            return _send(errors.unknown_call(environ, call), start_response)
        start_response(status, headers)
        return [body]


def _body(environ: Environ) -> bytes:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    return bytes(environ["wsgi.input"].read(length)) if length else b""


def _plain(content: dict[str, Any], status: int = 200) -> Answer:
    return Answer(status, (("Content-Type", "application/json"),), json.dumps(content).encode())


def _send(answer: Answer, start_response: StartResponse) -> Iterable[bytes]:
    headers = [*answer.headers, ("Content-Length", str(len(answer.body)))]
    start_response(answer.status_line, headers)
    return [answer.body]
