"""Logs: one line a fault, few lines, nothing secret."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError
from iot_receiver import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("INFO", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def raised(text: str) -> ValueError:
    try:
        int(text)
    except ValueError as error:
        return error
    raise AssertionError(text)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_fault_is_one_line_without_its_text(stream: io.StringIO) -> None:
    logs.fault("bad", "it went wrong", error=raised("X-Iot-Secret: sesame\nsecond line"), code=7)
    (line,) = lines(stream)
    assert line["event"] == "bad"
    assert line["error"] == "ValueError"
    assert line["code"] == 7
    assert str(line["where"]).startswith("test_logs.py:")
    assert "sesame" not in stream.getvalue()


def test_what_aws_refused_is_named(stream: io.StringIO) -> None:
    message = "User: arn:aws:sts::1:assumed-role/pod/x is not authorized to perform: sqs:sendmessage"
    refused = ClientError({"Error": {"Code": "AccessDenied", "Message": message}}, "SendMessageBatch")
    logs.fault("dead_letter_failed", "the dead-letter queue can't be reached", error=refused)
    (line,) = lines(stream)
    assert (line["error"], line["code"], line["operation"]) == ("ClientError", "AccessDenied", "SendMessageBatch")
    assert "assumed-role" not in stream.getvalue()


def test_other_libraries_texts_are_withheld(stream: io.StringIO) -> None:
    library = logging.getLogger("aiohttp.server")
    library.error("Error handling request from %s", "198.51.100.1, sesame", exc_info=raised("sesame"))
    library.error("a text that holds sesame")
    first, second = lines(stream)
    assert first["error"] == "ValueError"
    assert "198.51.100.1" not in stream.getvalue()
    assert "sesame" not in stream.getvalue()
    assert second["message"] == "(text withheld)"


def test_many_are_few(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("iot_receiver.logs.time.monotonic", lambda: now)
    for _ in range(1_000):
        logs.fault("bad", "again")
        logs.fault("other", "again")
    assert len(lines(stream)) == 2 * logs.LINES_PER_PERIOD
    now += logs.PERIOD
    logs.fault("bad", "again")
    assert lines(stream)[-1]["suppressed"] == 1_000 - logs.LINES_PER_PERIOD
