"""Which principal made which calls, counted: GET /sandbox/calls. Unsigned calls have no principal and are left out."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.exceptions import UnknownServiceError
from botocore.loaders import create_loader

from iot_sandbox.aws import beside, identities
from iot_sandbox.aws.errors import service_of
from iot_sandbox.aws.settings import Settings

MOST = 10_000  # kinds of calls; those beyond are counted together
ACCESS_KEY = re.compile(r"Credential=([^/]+)/")
NAMING = ("TableName", "QueueUrl", "SecretId", "RoleArn", "RoleName", "ResourceArn")
MODELS = {"elasticloadbalancing": "elbv2", "iotdata": "iot-data"}
# IAM's names of services whose signatures bear another.
SERVICES = {"monitoring": "cloudwatch", "iotdata": "iot"}
# Service Authorization Reference, Amazon SQS: a batch needs the single call's permission.
BATCHES = {f"{each}Batch": each for each in ("SendMessage", "DeleteMessage", "ChangeMessageVisibility")}

Kind = tuple[str, str, str]  # access key, action as IAM names it, resource as the call names it


class Calls:
    """Counts calls; safe for concurrent use.

    Pods call DynamoDB Local directly; it writes its own counts to a file (start.bsh), whose calls name no table.
    """

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._counts: Counter[Kind] = Counter()
        self._left_out = 0
        self._lock = Lock()

    def add(self, environ: dict[str, Any]) -> list[Kind]:
        """Count a request, and return what it is; nothing for an unsigned one."""
        found = ACCESS_KEY.search(environ.get("HTTP_AUTHORIZATION", ""))
        if not found:
            return []
        operation, parameters = _operation(environ)
        service = service_of(environ)
        named = BATCHES.get(operation, operation) if service == "sqs" else operation
        action = f"{SERVICES.get(service, service)}:{named}"
        asked = [(action, resource) for resource in _resources(parameters)]
        kinds = [(found[1], *each) for each in [*asked, *beside.asked(action, environ, peek(environ))]]
        with self._lock:
            for kind in kinds:
                if kind in self._counts or len(self._counts) < MOST:
                    self._counts[kind] += 1
                else:
                    self._left_out += 1
        return kinds

    def document(self) -> dict[str, Any]:
        """All counts by principal, action and resource, and how many calls had no room."""
        with self._lock:
            counts, left_out = self._counts.copy(), self._left_out
        for key, operation, count in _direct(self._config.dynamodb_calls_file):
            if key:
                counts[key, f"dynamodb:{operation}", ""] += count
            else:
                left_out += count
        principals = {key: identities.principal_of(self._config, key) for key, _, _ in counts}
        by_principal: Counter[Kind] = Counter()
        for (key, action, resource), count in counts.items():
            by_principal[principals[key], action, resource] += count
        calls = [
            {"principal": principal, "action": action, "resource": resource, "count": count}
            for (principal, action, resource), count in sorted(by_principal.items())
        ]
        return {"calls": calls, "left_out": left_out}


def _direct(file: Path | None) -> Iterator[tuple[str, str, int]]:
    """What DynamoDB Local counted: access key, operation and number."""
    if file and file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            key, operation, count = line.split("\t")
            yield key, operation, int(count)


def _operation(environ: dict[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The call's operation and parameters, by the protocol that its service speaks."""
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        body = peek(environ)
        try:
            parameters = json.loads(body) if 0 < len(body) <= beside.LARGEST else {}
        except ValueError:
            parameters = {}
        return target.rpartition(".")[2], parameters if isinstance(parameters, dict) else {}
    if "form-urlencoded" in environ.get("CONTENT_TYPE", ""):
        form = {name: values[0] for name, values in parse_qs(peek(environ).decode(errors="replace")).items()}
        return form.get("Action", ""), form
    # As it was sent: a name may hold an encoded slash.
    method, path = environ.get("REQUEST_METHOD", ""), environ.get("RAW_URI", "").partition("?")[0]
    for verb, pattern, operation in _routes(service_of(environ)):
        if verb == method and (match := pattern.fullmatch(path)):
            return operation, {"ResourceArn": unquote(next(iter(match.groups()), ""))}
    return method, {}


@cache
def _routes(service: str) -> list[tuple[str, re.Pattern[str], str]]:
    """Method and path of each operation of a REST service; those with fewer variables first."""
    try:
        model = create_loader().load_service_model(MODELS.get(service, service), "service-2")
    except UnknownServiceError:
        return []
    routes = []
    for operation in model["operations"].values():
        path = operation["http"]["requestUri"].partition("?")[0].rstrip("/")
        parts = re.split(r"(\{[^}]*\})", path)  # {name+} may hold slashes
        labels = {part: "(.+)" if part.endswith("+}") else "([^/]+)" for part in parts if part.startswith("{")}
        pattern = "".join(labels.get(part, re.escape(part)) for part in parts) + "/?"
        routes.append((path.count("{"), operation["http"]["method"], re.compile(pattern), operation["name"]))
    return [route[1:] for route in sorted(routes, key=lambda route: route[0])]


def _resources(parameters: Mapping[str, Any]) -> list[str]:
    tables = parameters.get("RequestItems")  # of DynamoDB's batches
    if isinstance(tables, dict):
        return list(tables)
    return [next((str(parameters[name]) for name in NAMING if parameters.get(name)), "")]


def peek(environ: dict[str, Any]) -> bytes:
    """The body, which stays to be read."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if not length:
        return b""
    body: bytes = environ["wsgi.input"].read(length)
    environ["wsgi.input"] = io.BytesIO(body)
    return body
