"""The emulated AWS as a process of its own, and an HTTPS endpoint that it can call."""

from __future__ import annotations

import json
import socket
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
from botocore.config import Config

from tests.support.certificates import Authority
from tests.support.emulated_aws import emulated_aws

ACCOUNT, REGION = "123456789012", "us-east-2"
KEY, SECRET = "AKIAOPERATOROFTEST00", "secret-of-the-operator"


@dataclass
class Emulator:
    """A running emulator, the folder of its files and its authority."""

    url: str
    folder: Path
    authority: Authority

    def client(self, service: str, key: str = KEY, secret: str = SECRET, token: str | None = None) -> Any:
        """An ordinary client that gives up soon: one that retries would hide what tests look for."""
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries={"mode": "standard", "max_attempts": 4}, read_timeout=20),
        )

    def get(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body of an unsigned GET."""
        return self.request(urllib.request.Request(self.url + path))  # noqa: S310 - our own URL

    def post(self, path: str, body: Any) -> Any:
        """Answer, decoded, to an unsigned POST of JSON."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), method="POST")  # noqa: S310
        return json.loads(self.request(request)[2])

    @staticmethod
    def request(request: urllib.request.Request) -> tuple[int, str, bytes]:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return answer.status, answer.headers.get("Content-Type", ""), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers.get("Content-Type", ""), error.read()


@contextmanager
def running(folder: Path, authority: Authority, **variables: str) -> Iterator[Emulator]:
    """Run the emulator with these SANDBOX_ variables, named without that prefix."""
    credentials = folder / "credentials"
    credentials.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
    settings = {
        "CREDENTIALS_FILE": str(credentials), "HOSTED_ZONES": "sandbox.test", "IOT_DELETION_TIME": "0.5",
        "IOT_QUOTED_ARN": "false", "ROUTE53_SYNC_TIME": "0", "HEALTH_CHECK_INTERVAL": "0.2",
    }  # fmt: skip
    with emulated_aws(folder, authority.folder, settings | variables) as url:
        yield Emulator(url, folder, authority)


@dataclass
class Call:
    """A request that an endpoint got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Endpoint:
    """A server that notes every request; `answer` decides on status and body."""

    url: str
    calls: list[Call] = field(default_factory=list)
    answer: Callable[[Call], tuple[int, Any]] = lambda call: (200, {})


@contextmanager
def serving(authority: Authority | None, address: str = "127.0.0.1") -> Iterator[Endpoint]:
    """Serve on a free port, over HTTPS by a certificate of the authority if there is one."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            headers = {k.lower(): v for k, v in self.headers.items()}
            call = Call(self.command, self.path, headers, self.rfile.read(length))
            endpoint.calls.append(call)
            status, content = endpoint.answer(call)
            extra = {}
            if isinstance(content, tuple):
                content, extra = content
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **extra}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_HEAD = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        daemon_threads = True

    server = Server((address, 0), Handler)
    endpoint = Endpoint(f"http://{address}:{server.server_port}")
    if authority:
        identity = authority.issue(f"endpoint-{server.server_port}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity.certificate, identity.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        endpoint.url = f"https://localhost:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
