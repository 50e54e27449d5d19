"""A proxy before the emulated AWS that loses, delays and refuses as the real one may."""

import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """A whole HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def refusal(code: str, status: int = 400, message: str = "by the test") -> Answer:
    """An error in the form of AWS IoT."""
    headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", code)]
    return Answer(status, headers, json.dumps({"message": message}).encode())


def matches(pattern: str, call: str) -> bool:
    """Whether "METHOD /path", with its query or without, is what a pattern describes."""
    return any(re.search(pattern, text) for text in (call, call.partition("?")[0]))


@dataclass
class Fault:
    """What happens to the first `times` calls that match "METHOD /path".

    `act` gets a function that does the call, and gives the answer.
    """

    call: str
    act: Callable[[Callable[[], Answer]], Answer]
    times: int = 1


@dataclass
class Proxy:
    """A running proxy. `calls` are those it saw, `faults` those it makes: the first that matches counts."""

    url: str
    calls: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, call: str) -> int:
        """How often a call that matches was seen."""
        return sum(matches(call, seen) for seen in self.calls)

    def refuse(self, call: str, code: str, times: int = 1, status: int = 400, message: str = "by the test") -> None:
        """Refuse a call before it does anything."""
        self.faults.append(Fault(call, lambda _: refusal(code, status, message), times))

    def lose_answer(self, call: str, code: str, times: int = 1, status: int = 500) -> None:
        """Let a call do its work, and answer that it failed."""

        def act(forward: Callable[[], Answer]) -> Answer:
            forward()
            return refusal(code, status)

        self.faults.append(Fault(call, act, times))

    def before(self, call: str, happens: Callable[[], Any]) -> None:
        """Let something happen just before a call."""

        def act(forward: Callable[[], Answer]) -> Answer:
            happens()
            return forward()

        self.faults.append(Fault(call, act))

    def lag(self, call: str, times: int) -> None:
        """Answer each matching read as it was answered now, or as a thing unknown: reads behind writes."""
        old = dict(self.answers)
        for seen in {seen for seen in old if matches(call, seen)}:
            self.faults.append(Fault(f"^{re.escape(seen)}$", lambda _, seen=seen: old[seen], times))  # type: ignore[misc]
        self.refuse(call, "ResourceNotFoundException", times, 404)

    def act_on(self, call: str) -> Callable[[Callable[[], Answer]], Answer] | None:
        """Take the fault that a call meets."""
        with self.lock:
            self.calls.append(call)
            for fault in self.faults:
                if fault.times > 0 and matches(fault.call, call):
                    fault.times -= 1
                    return fault.act
        return None


@contextmanager
def proxied(endpoint: str) -> Iterator[Proxy]:
    """Run a proxy before an endpoint."""
    target = urlsplit(endpoint).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            call = f"{self.command} {self.path}"
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def forward() -> Answer:
                connection = http.client.HTTPConnection(target, timeout=30)
                connection.request(self.command, self.path, body, dict(self.headers.items()))
                got = connection.getresponse()
                answer = Answer(got.status, got.getheaders(), got.read())
                connection.close()
                proxy.answers[call] = answer
                return answer

            act = proxy.act_on(call)
            answer = act(forward) if act else forward()
            self.send_response_only(answer.status)
            for name, value in answer.headers:
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    proxy = Proxy(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
