"""A library that lacks what the receiver uses is named at start."""

import inspect

import pytest
from aiohttp import web
from botocore import httpsession
from iot_receiver import __main__, libraries


def test_the_locked_versions_have_everything() -> None:
    assert list(libraries.faults()) == []


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    signature = inspect.signature(web.RequestHandler.__init__)
    fewer = [each for name, each in signature.parameters.items() if name != "read_bufsize"]
    monkeypatch.setattr(
        web.RequestHandler.__init__, "__signature__", signature.replace(parameters=fewer), raising=False
    )
    monkeypatch.delattr(web.RequestHandler, "handle_error")
    monkeypatch.delattr(httpsession, "get_cert_path")
    named = [fault.partition(" has no ")[2].partition(": install")[0] for fault in libraries.faults()]
    assert named == [
        "aiohttp.web:RequestHandler.handle_error",
        "botocore.httpsession:get_cert_path",
        "parameter read_bufsize of aiohttp.web:RequestHandler.__init__",
    ]
    monkeypatch.setattr("signal.signal", lambda *_: None)  # SIGTERM is to end pytest as before
    assert __main__.main() == 2
    said = capsys.readouterr().err
    assert said.startswith("iot-receiver can't start:\naiohttp ")
    assert "install the versions of requirements/service.txt" in said
