"""Role iot_core names the fault of a receiver that AWS could not use, and the fix."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.deployment.conftest import DOMAIN, Playbook
from tests.support.certificates import make_certificate
from tests.support.paths import STATE

Aws = Callable[[str], Any]
CA = STATE / "ca"


def certificate(folder: Path, name: str, *signed: str) -> Path:
    """A certificate for localhost, self-signed unless an authority is given; its key is beside it."""
    return make_certificate(folder, name, "-addext", "subjectAltName=DNS:localhost",
                            "-addext", "basicConstraints=critical,CA:FALSE", *signed, subject="localhost")


@contextmanager
def server(shown: Path, statuses: dict[str, int]) -> Iterator[str]:
    """A receiver at a path of localhost that answers with these statuses, else with 200, and confirms nothing."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(statuses.get(self.path.partition("?")[0], 200))
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown, shown.with_suffix(".key"))
    served.socket = context.wrap_socket(served.socket, server_side=True)
    threading.Thread(target=served.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"https://localhost:{served.server_port}/ingest"
    finally:
        served.shutdown()
        served.server_close()


@pytest.fixture
def urls(tmp_path: Path, aws: Aws) -> Iterator[dict[str, str]]:
    """A URL for each fault; destinations that the role makes for them are deleted afterwards."""
    good = certificate(tmp_path, "good", "-CA", str(CA / "ca.crt"), "-CAkey", str(CA / "ca.key"))
    itself = certificate(tmp_path, "itself")
    with ExitStack() as stack:
        yield {
            "name": f"https://nowhere.{DOMAIN}/ingest",
            "chain": stack.enter_context(server(itself, {})),
            "target": stack.enter_context(server(good, {"/metrics": 503})),
            "path": stack.enter_context(server(good, {"/ingest/": 404})),
            "unrouted": f"https://{DOMAIN}/elsewhere",
            "never": stack.enter_context(server(good, {})),
        }
    iot = aws("iot")
    for destination in iot.list_topic_rule_destinations()["destinationSummaries"]:
        if destination["httpUrlSummary"]["confirmationUrl"].startswith("https://localhost:"):
            iot.delete_topic_rule_destination(arn=destination["arn"])
    iot.delete_policy(policyName="faulty")


def test_each_fault_is_named_with_what_to_do(
    playbook: Playbook, aws: Aws, urls: dict[str, str], tmp_path: Path
) -> None:
    told = tmp_path / "told.json"
    variables = json.dumps({"faults_urls": urls, "faults_file": str(told)})
    done = playbook("tests/deployment/faults/play.yml", "-e", variables)
    assert done.status == 0, done.output[-3000:]
    reasons: dict[str, str] = json.loads(told.read_text())
    for fault, words in {
        "name": (f"the name nowhere.{DOMAIN} does not resolve", "make its DNS record", "--tags receiver"),
        "chain": ("is self-signed", "AWS takes certificates of public authorities only", "ACM"),
        "target": ("answers 503", "the load balancer has no healthy target", "--tags receiver"),
        "path": ("the path /ingest/ is not routed to the receiver", "Prefix", "--tags receiver"),
        "unrouted": ("the path /elsewhere is not routed to the receiver", "--tags receiver"),
        "never": ("IN_PROGRESS", "The confirmation never arrived at the receiver", "receiver_inbound_ranges",
                  "What answers at /ingest and /ingest/ accepts a post without the secret, so it is not this receiver"),
    }.items():
        for word in words:
            assert word in reasons[fault], (fault, reasons[fault])
    assert "faulty" not in [rule["ruleName"] for rule in aws("iot").list_topic_rules()["rules"]]
    destinations = aws("iot").list_topic_rule_destinations()["destinationSummaries"]
    assert {d["httpUrlSummary"]["confirmationUrl"] for d in destinations} == {f"https://{DOMAIN}/ingest", urls["never"]}
