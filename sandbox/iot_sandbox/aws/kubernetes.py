"""The few calls to the real cluster's API server that the emulator makes, by an ordinary kubeconfig.

https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

TIMEOUT_SECONDS = 5.0


class KubernetesError(RuntimeError):
    """The cluster cannot be reached or refused; `status` is its HTTP status, 0 when it did not answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Cluster:
    """An API server, the CA of its certificate (PEM), and the credentials for it."""

    server: str
    context: ssl.SSLContext
    certificate_authority: str
    token: str = ""

    def call(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        """Call the API and decode its answer.

        Raises KubernetesError.
        """
        url = urlsplit(self.server)
        # The API server refuses application/json alone for its signing keys.
        headers = {"Accept": "application/json, application/jwk-set+json", "Content-Type": content_type}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        connection = http.client.HTTPSConnection(
            url.hostname or "", url.port or 443, timeout=TIMEOUT_SECONDS, context=self.context
        )
        try:
            with closing(connection):
                data = None if body is None else json.dumps(body)
                connection.request(method, f"{url.path.rstrip('/')}{path}", data, headers)
                response = connection.getresponse()
                answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise KubernetesError(f"{self.server} did not answer: {error}") from error
        if response.status >= 300:
            raise KubernetesError(f"{method} {path}: {response.status} {answer[:500]!r}", response.status)
        try:
            return json.loads(answer)
        except ValueError as error:
            raise KubernetesError(f"{method} {path}: no JSON in the answer") from error


def load(kubeconfig: Path) -> Cluster:
    """The cluster of the kubeconfig's current context.

    Raises KubernetesError when the file is missing or lacks what is needed.
    """
    try:
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
        authority = _data(cluster, "certificate-authority", kubeconfig)
        tls = ssl.create_default_context(cadata=authority)
        certificate = _data(user, "client-certificate", kubeconfig)
        key = _data(user, "client-key", kubeconfig)
        if certificate and key:
            _use_client_certificate(tls, certificate, key)
        return Cluster(cluster["server"], tls, authority or "", user.get("token", ""))
    except (OSError, ValueError, KeyError, TypeError, StopIteration, yaml.YAMLError) as error:
        raise KubernetesError(f"kubeconfig {kubeconfig} cannot be used: {error!r}") from error


def _named(config: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    return next(item for item in config[kind] if item["name"] == name)


def _data(section: dict[str, Any], name: str, kubeconfig: Path) -> str | None:
    inline = section.get(f"{name}-data")
    if inline:
        return base64.b64decode(inline).decode()
    path = section.get(name)
    return (kubeconfig.parent / path).read_text(encoding="utf-8") if path else None


def _use_client_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    # The ssl module takes certificates from files only.
    descriptor, name = tempfile.mkstemp(prefix="iot-sandbox-", suffix=".pem")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{certificate}\n{key}\n")
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()
