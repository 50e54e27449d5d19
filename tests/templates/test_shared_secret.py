"""The Secret that the receiver's pods mount."""

import base64
from typing import Any

from tests.templates.render import render


def secret(**values: str) -> dict[str, Any]:
    """The Secret's data, of these values by their part in a rotation."""
    known = {"receiver_namespace": "apps", "shared_secret_versions": {"values": values}}
    data: dict[str, Any] = render("shared_secret", "secret.yaml.j2", **known)["data"]
    return data


def test_secret_holds_all_that_a_rotation_needs() -> None:
    assert secret(current="0" * 64) == {"current": base64.b64encode(b"0" * 64).decode()}
    parts = {"previous": "a", "current": "b", "next": "c"}
    assert set(secret(**parts)) == set(parts)
    assert set(secret(**parts, dropped="d")) == set(parts)
