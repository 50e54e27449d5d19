"""A faulty DynamoDB: a proxy between the receivers and DynamoDB Local while a test runs."""

import http.client
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.deployment.conftest import Kubectl

ADDRESS, PORT = "10.213.0.1", 8009
DYNAMODB = ("10.213.0.1", 8000)
DEPLOYMENT = ("deployment/iot-receiver", "-n", "apps")
VARIABLE = "AWS_ENDPOINT_URL_DYNAMODB"
THROTTLED = json.dumps({"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"}).encode()


class Faulty(ThreadingHTTPServer):
    """Forwards calls late, or throttles them.

    :ivar delay: seconds before each call.
    :ivar throttled: the share of calls that are refused as too many.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__((ADDRESS, PORT), _Handler)
        self.delay = 0.0
        self.throttled = 0.0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Faulty

    def do_POST(self) -> None:
        """Forward one call."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.server.delay)
        if random.random() < self.server.throttled:  # noqa: S311
            self._answer(400, THROTTLED)
            return
        connection = http.client.HTTPConnection(*DYNAMODB, timeout=10)
        names = ("X-Amz-Target", "Content-Type", "Authorization")
        connection.request("POST", "/", body, {name: self.headers[name] for name in names})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        self._answer(response.status, content)

    def _answer(self, status: int, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the receiver has given up

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        """Say nothing."""


@contextmanager
def faulty_dynamodb(kubectl: Kubectl) -> Iterator[Faulty]:
    """Let the receivers write through the proxy, and directly again afterwards."""
    server = Faulty()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        _rolled_out(kubectl, f"{VARIABLE}=http://{ADDRESS}:{PORT}")
        yield server
    finally:
        server.delay = server.throttled = 0.0
        _rolled_out(kubectl, f"{VARIABLE}-")
        server.shutdown()
        server.server_close()


def _rolled_out(kubectl: Kubectl, variable: str) -> None:
    kubectl.text("set", "env", *DEPLOYMENT, variable)
    kubectl.text("rollout", "status", *DEPLOYMENT, limit=180)
