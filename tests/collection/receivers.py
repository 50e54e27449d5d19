"""An HTTPS endpoint that AWS sends its challenges to."""

import json
import ssl
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SOON = {"wait_timeout": 15, "wait_delay": 1}


class Receiver:
    """An HTTPS endpoint that notes challenges, answers them with `status`, and confirms those that the test names."""

    def __init__(self, authority: Path, confirm: Callable[[str], None]) -> None:
        self.challenges: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.status, self.silent_for = 200, 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                challenge = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.paths.append(self.path.partition("?")[0])
                receiver.challenges.append(challenge)
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                if receiver.status == 200 and len(receiver.challenges) > receiver.silent_for:
                    confirm(challenge["confirmationToken"])

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority / "server.crt", authority / "server.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        # Ports are given again: no other test's destination may have the URL.
        self.url = f"https://127.0.0.1:{self.server.server_port}/{uuid.uuid4().hex[:8]}/ingest"


@contextmanager
def receiving(authority: Path, endpoint: str) -> Iterator[Receiver]:
    """Run a receiver that confirms to an emulated AWS."""
    import boto3  # noqa: PLC0415 - after the finder

    iot = boto3.client("iot", endpoint_url=endpoint, region_name="us-east-2",
                       aws_access_key_id="a", aws_secret_access_key="b")  # fmt: skip
    receiver = Receiver(authority, lambda token: iot.confirm_topic_rule_destination(confirmationToken=token))
    threading.Thread(target=receiver.server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
