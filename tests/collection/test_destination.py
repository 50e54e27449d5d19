"""Destinations against an emulated account and an HTTPS endpoint that does, or does not, confirm."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from test_emulated import prediction_holds

Run = Callable[..., dict[str, Any]]
Aws = Callable[[str], Any]
MODULE = "iot_topic_rule_destination"
SOON = {"wait_timeout": 15, "wait_delay": 1}


class Receiver:
    """An HTTPS endpoint that notes challenges, answers them with `status`, and confirms those it is told to."""

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
        self.url = f"https://127.0.0.1:{self.server.server_port}/ingest"


@pytest.fixture(name="receiver")
def _receiver(authority: Path, aws: Aws) -> Iterator[Receiver]:
    iot = aws("iot")
    receiver = Receiver(authority, lambda token: iot.confirm_topic_rule_destination(confirmationToken=token))
    threading.Thread(target=receiver.server.serve_forever, daemon=True).start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def status(aws: Aws, url: str) -> list[str]:
    """Statuses of the destinations of a URL."""
    held = aws("iot").list_topic_rule_destinations()["destinationSummaries"]
    return [one["status"] for one in held if one["httpUrlSummary"]["confirmationUrl"] == url]


def test_from_nothing_to_enabled_to_disabled_and_back_to_nothing(
    run: Run, aws: Aws, receiver: Receiver
) -> None:
    url = receiver.url
    made = prediction_holds(run, MODULE, "destination", confirmation_url=url, **SOON)
    assert made["destination"]["status"] == "ENABLED"
    assert receiver.paths == ["/ingest/"]
    for state, expected in (("disabled", ["DISABLED"]), ("enabled", ["ENABLED"])):
        assert prediction_holds(run, MODULE, "destination", confirmation_url=url, state=state, **SOON)[
            "changed"
        ]
        assert status(aws, url) == expected
    assert len(receiver.challenges) == 1
    assert prediction_holds(run, MODULE, "destination", confirmation_url=url, state="absent", **SOON)[
        "changed"
    ]
    assert status(aws, url) == []


def test_a_lost_challenge_is_sent_again(run: Run, aws: Aws, receiver: Receiver) -> None:
    receiver.silent_for = 1
    made = run(MODULE, confirmation_url=receiver.url, resend_after=4, **SOON)
    assert made["destination"]["status"] == "ENABLED"
    assert len(receiver.challenges) == 2
    assert status(aws, receiver.url) == ["ENABLED"]


def test_one_in_progress_from_an_earlier_run_is_brought_to_its_end(
    run: Run, aws: Aws, receiver: Receiver
) -> None:
    receiver.silent_for = 1
    left = run(MODULE, confirmation_url=receiver.url, wait=False)
    assert left["destination"]["status"] == "IN_PROGRESS"
    made = run(MODULE, confirmation_url=receiver.url, resend_after=4, **SOON)
    assert made["destination"] == left["destination"] | {"status": "ENABLED"}


def test_an_error_is_answered_with_a_new_challenge(run: Run, aws: Aws, receiver: Receiver) -> None:
    receiver.status = 503
    failed = run(MODULE, confirmation_url=receiver.url, wait_timeout=3, wait_delay=1)
    assert failed["failed"]
    assert "503" in failed["msg"]
    assert "confirmationToken" in failed["msg"]
    assert failed["destination"]["status"] == "ERROR"
    assert len(receiver.challenges) == 1
    receiver.status = 200  # and the next run does not wait before it asks for a new challenge
    assert run(MODULE, confirmation_url=receiver.url, **SOON)["destination"]["status"] == "ENABLED"


def test_one_that_is_being_deleted_is_made_anew(run: Run, aws: Aws, receiver: Receiver) -> None:
    first = run(MODULE, confirmation_url=receiver.url, **SOON)["destination"]
    aws("iot").delete_topic_rule_destination(arn=first["arn"])
    assert status(aws, receiver.url) == ["DELETING"]
    second = run(MODULE, confirmation_url=receiver.url, **SOON)["destination"]
    assert second["status"] == "ENABLED"
    assert second["arn"] != first["arn"]


def test_a_given_token_confirms(run: Run, receiver: Receiver) -> None:
    receiver.silent_for = 99
    run(MODULE, confirmation_url=receiver.url, wait=False)
    while not receiver.challenges:
        pass
    token = receiver.challenges[-1]["confirmationToken"]
    made = run(MODULE, confirmation_url=receiver.url, confirmation_token=token, **SOON)
    assert made["destination"]["status"] == "ENABLED"
    wrong = run(MODULE, confirmation_url=receiver.url + "/other", wait=False)
    assert wrong["changed"]
    refused = run(MODULE, confirmation_url=receiver.url + "/other", confirmation_token="stale", **SOON)
    assert "confirm_topic_rule_destination" in refused["msg"]


def test_two_creations_make_one_destination(run: Run, aws: Aws, receiver: Receiver) -> None:
    """The list of the second run is from before the first one's creation."""
    receiver.silent_for = 99
    aws("iot").create_topic_rule_destination(
        destinationConfiguration={"httpUrlConfiguration": {"confirmationUrl": receiver.url}}
    )
    made = run(MODULE, confirmation_url=receiver.url, wait=False)
    assert not made["changed"]
    assert len(status(aws, receiver.url)) == 1


def test_a_destination_by_arn_cannot_be_created(run: Run) -> None:
    arn = "arn:aws:iot:us-east-2:123456789012:ruledestination/http/00000000-0000-0000-0000-000000000000"
    assert "confirmation_url" in run(MODULE, arn=arn)["msg"]
    assert not run(MODULE, arn=arn, state="absent")["changed"]
