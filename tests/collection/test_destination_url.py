"""Role iot_core's look at the receiver's URL, against servers that fail in each of the ways that AWS would meet."""

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.iotweb.deployment.plugins.modules import destination_url

from tests.support.certificates import make_certificate

Answer = tuple[int, str]  # status and content type
Routes = dict[tuple[str, str], Answer]
PROBLEM = "application/problem+json"
RECEIVER: Routes = {
    ("GET", "/metrics"): (200, "text/plain"),
    ("POST", "/ingest"): (401, PROBLEM),
    ("POST", "/ingest/"): (403, PROBLEM),
}
NOT_FOUND: Answer = (404, "text/plain")


def certificate(folder: Path, name: str, host: str, *options: str, authority: bool = False) -> Path:
    """A certificate with its key, signed by itself unless the options name an authority."""
    constraint = f"basicConstraints=critical,CA:{'TRUE' if authority else 'FALSE'}"
    return make_certificate(folder, name, "-addext", constraint, "-addext", f"subjectAltName=DNS:{host}", *options)


@pytest.fixture(scope="module", name="pki")
def _pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates good and bad; `ca.crt` is what the tests trust."""
    folder = tmp_path_factory.mktemp("pki")
    for name in ("ca", "foreign", "intermediate"):
        signed = ["-CA", "ca.crt", "-CAkey", "ca.key"] if name == "intermediate" else []
        certificate(folder, name, name, *signed, authority=True)
    for name, host, authority in (
        ("good", "localhost", "ca"), ("other", "elsewhere.example", "ca"), ("private", "localhost", "foreign"),
        ("incomplete", "localhost", "intermediate"),
    ):  # fmt: skip
        certificate(folder, name, host, "-CA", f"{authority}.crt", "-CAkey", f"{authority}.key")
    chain = (folder / "private.crt").read_text() + (folder / "foreign.crt").read_text()
    (folder / "private.crt").write_text(chain)
    certificate(folder, "selfsigned", "localhost")
    _expired(folder)
    return folder


def _expired(folder: Path) -> None:
    """A certificate of the past, by `openssl ca`."""
    (folder / "index").touch()
    (folder / "serial").write_text("01\n")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca = d\n[d]\ndatabase = index\nserial = serial\nnew_certs_dir = .\ndefault_md = sha256\n"
        "policy = p\nx509_extensions = e\n[p]\ncommonName = supplied\n[e]\nsubjectAltName = DNS:localhost\n"
    )
    for command in (
        ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "expired.key",
         "-out", "expired.csr", "-subj", "/CN=expired"],
        ["ca", "-batch", "-config", "ca.cnf", "-cert", "ca.crt", "-keyfile", "ca.key", "-in", "expired.csr",
         "-out", "expired.crt", "-notext", "-startdate", "20200101000000Z", "-enddate", "20200201000000Z"],
    ):  # fmt: skip
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)


Serve = Callable[..., str]


@pytest.fixture(name="serve")
def _serve(pki: Path) -> Iterator[Serve]:
    """Start a server with a certificate and routes; the URL of its /ingest."""
    running: list[ThreadingHTTPServer] = []

    def start(shown: str = "good", routes: Routes = RECEIVER, seen: list[str] | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if seen is not None:
                    seen.append(f"{self.command} {self.path} {self.headers['Host']}")
                status, kind = routes.get((self.command, self.path.partition("?")[0]), NOT_FOUND)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", "0")
                self.send_header("Location", "https://elsewhere.example/")
                self.end_headers()

            do_GET = do_POST = answer  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki / f"{shown}.crt", pki / f"{shown}.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        running.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"https://localhost:{server.server_port}/ingest"

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


Look = Callable[..., dict[str, Any]]


@pytest.fixture(name="look")
def _look(pki: Path) -> Look:
    """Run the module once."""

    def run(url: str, check: bool = False, **options: Any) -> dict[str, Any]:
        printed = StringIO()
        arguments = {
            "url": url, "ca_file": str(pki / "ca.crt"), "private_addresses": True, "wait_timeout": 0, **options,
            "_ansible_check_mode": check,
        }  # fmt: skip
        with patch_module_args(arguments), redirect_stdout(printed), pytest.raises(SystemExit):
            destination_url.main()
        result: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
        return result

    return run


def test_a_receiver_that_aws_can_use(serve: Serve, look: Look) -> None:
    seen: list[str] = []
    url = serve(seen=seen)
    assert look(url) == {"changed": False, "addresses": ["127.0.0.1"], "taken": [],
                         "invocation": look(url)["invocation"]}  # fmt: skip
    port = url.split(":")[2].split("/")[0]
    assert seen[:3] == [
        f"GET /metrics localhost:{port}",
        f"POST /ingest localhost:{port}",
        f"POST /ingest/?confirmationToken=none localhost:{port}",
    ]


@pytest.mark.parametrize("paths", [["/ingest"], ["/ingest/"], ["/ingest", "/ingest/"]])
def test_who_takes_all_may_be_meant_and_is_told_of(serve: Serve, look: Look, paths: list[str]) -> None:
    found = look(serve(routes=RECEIVER | {("POST", path): (200, "application/json") for path in paths}))
    assert "failed" not in found
    assert found["taken"] == paths


@pytest.mark.parametrize(
    "url",
    [
        "https://a..b.example.com/ingest", f"https://{'a' * 64}.example.com/ingest", "https://localhost:abc/ingest",
        "https://localhost:99999/", "https://[::1/ingest", "https:///ingest", "http://localhost/ingest", "nonsense",
    ],
)  # fmt: skip
def test_what_is_no_url_is_a_fault_at_once(look: Look, url: str) -> None:
    refused = look(url, wait_timeout=30)
    assert refused["msg"].startswith(f"AWS cannot use {url} as a destination: ")
    assert "set iot_core_destination_url to" in refused["msg"]
    assert "fault" in look(url, check=True)


def test_authorities_that_are_not_there_are_named(look: Look) -> None:
    assert "receiver_ca_file /none can't be read" in look("https://localhost/", ca_file="/none")["msg"]


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ("selfsigned", "is self-signed: AWS takes certificates of public authorities only: the load balancer's"),
        ("private", "ends in a self-signed authority that is not a public one"),
        ("incomplete", "does not lead to a public authority: the authority is a private one, or the server leaves out"),
        ("expired", "has expired: renew it"),
        ("other", "for localhost is for another name"),
    ],
)
def test_a_certificate_that_aws_refuses(serve: Serve, look: Look, shown: str, words: str) -> None:
    refused = look(serve(shown))
    assert refused["failed"]
    assert words in refused["msg"]
    assert "ACM" in refused["msg"]


@pytest.mark.parametrize(
    ("request_line", "answer", "words"),
    [
        (("GET", "/metrics"), (503, "text/html"), "503: the load balancer has no healthy target. See whether"),
        (("POST", "/ingest"), (503, "text/html"), "503: the load balancer has no healthy target"),
        (("GET", "/metrics"), (502, "text/html"), "502: the receiver does not answer well"),
        (("GET", "/metrics"), NOT_FOUND, "the path /metrics is not routed to the receiver"),
        (("GET", "/metrics"), (301, "text/html"), "it redirects to https://elsewhere.example/"),
        (("POST", "/ingest/"), NOT_FOUND, "the path /ingest/ is not routed to the receiver. The Ingress must route"),
        (("POST", "/ingest/"), (404, PROBLEM), "the path /ingest/ is not routed to the receiver"),
        (("POST", "/ingest/"), (405, "text/html"), "where AWS posts its confirmation to"),
        (("POST", "/ingest/"), (403, "text/html"), "something before the receiver refuses the request"),
        (("POST", "/ingest"), NOT_FOUND, "POST /ingest, where readings are posted to"),
    ],
)
def test_an_answer_that_aws_stumbles_over(
    serve: Serve, look: Look, request_line: tuple[str, str], answer: Answer, words: str
) -> None:
    refused = look(serve(routes=RECEIVER | {request_line: answer}))
    assert refused["failed"]
    assert words in refused["msg"]


def test_a_name_that_does_not_resolve(look: Look) -> None:
    refused = look("https://receiver.invalid/ingest")
    assert "the name receiver.invalid does not resolve" in refused["msg"]
    assert "--tags receiver" in refused["msg"]


def test_addresses_that_aws_cannot_reach(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "resolves to 127.0.0.1, which AWS cannot reach" in look("https://localhost/", private_addresses=False)["msg"]
    six = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: six)
    assert "has no IPv4 address" in look("https://six.example/ingest")["msg"]


def test_nothing_listens_or_speaks_tls(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"https://localhost:{mute.getsockname()[1]}/ingest"
        monkeypatch.setattr(destination_url, "STEP_S", 0.2)
        assert "does not answer within" in look(url)["msg"]
    assert "nothing serves HTTPS there" in look(url)["msg"]
    assert "https:// only" in look("http://localhost/ingest")["msg"]


def test_what_is_mended_meanwhile_is_no_fault(serve: Serve, look: Look) -> None:
    routes = RECEIVER | {("GET", "/metrics"): (503, "text/html")}
    url = serve(routes=routes)
    threading.Timer(0.3, routes.update, [RECEIVER]).start()
    assert "failed" not in look(url, wait_timeout=5, wait_delay=0.1)
    assert "failed" in look("https://receiver.invalid/ingest", wait_timeout=0.3, wait_delay=-1)


def test_check_mode_warns_at_once(look: Look) -> None:
    seen = look("https://receiver.invalid/ingest", check=True, wait_timeout=30)
    assert not seen["changed"]
    assert "does not resolve" in seen["fault"]
    assert "failed" not in seen
