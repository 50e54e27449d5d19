"""Certificates are made when they must be, and only then."""

import base64
import json
import subprocess
from pathlib import Path

from tests.machine.conftest import Run

SERVER = {
    "name": "server",
    "common_name": "a",
    "authority": "ca",
    "server": True,
    "names": ["a.test"],
    "addresses": ["10.0.0.1"],
}
CLIENT = {"name": "client", "common_name": "c", "authority": "ca", "organization": "system:masters"}
AUTHORITY = {"name": "ca", "common_name": "authority"}


def openssl(*arguments: str | Path) -> str:
    """What openssl, another reader of certificates, says."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_chain_holds_and_second_run_makes_nothing(module: Run, tmp_path: Path) -> None:
    arguments = {
        "directory": str(tmp_path / "pki"),
        "authorities": [AUTHORITY],
        "certificates": [SERVER, CLIENT],
        "signing_keys": ["tokens"],
        "kubeconfigs": [
            {"path": str(tmp_path / "config"), "certificate": "client", "authority": "ca", "server": "https://a"}
        ],
        "bundles": [{"path": str(tmp_path / "bundle"), "authority": "ca"}],
    }
    assert module("certificates", **arguments)["changed"]
    pki = tmp_path / "pki"
    for name, purpose in (("server", "sslserver"), ("client", "sslclient")):
        verified = openssl(
            "verify", "-x509_strict", "-purpose", purpose, "-CAfile", pki / "ca.crt", pki / f"{name}.crt"
        )
        assert f"{name}.crt: OK" in verified
    text = openssl("x509", "-noout", "-text", "-in", pki / "server.crt")
    assert "DNS:a.test, IP Address:10.0.0.1" in text
    assert "O = system:masters, CN = c" in openssl("x509", "-noout", "-subject", "-in", pki / "client.crt")
    config = json.loads((tmp_path / "config").read_text())
    embedded = base64.b64decode(config["users"][0]["user"]["client-certificate-data"])
    assert embedded == (pki / "client.crt").read_bytes()
    assert (tmp_path / "bundle").read_bytes().endswith((pki / "ca.crt").read_bytes())
    for private in (tmp_path / "config", pki / "ca.key", pki / "client.key", pki / "tokens.key"):
        assert private.stat().st_mode & 0o077 == 0, private
    assert module("certificates", **arguments)["made"] == []


def test_what_no_longer_fits_is_made_again(module: Run, tmp_path: Path) -> None:
    arguments = {"directory": str(tmp_path), "authorities": [AUTHORITY], "certificates": [SERVER, CLIENT]}
    module("certificates", **arguments)
    renamed = {**arguments, "certificates": [{**SERVER, "names": ["b.test"]}, CLIENT]}
    assert [Path(path).name for path in module("certificates", **renamed)["made"]] == ["server.key", "server.crt"]
    (tmp_path / "client.key").unlink()
    assert [Path(path).name for path in module("certificates", **renamed)["made"]] == ["client.key", "client.crt"]
    (tmp_path / "ca.key").unlink()  # a new authority: nothing the old one signed holds
    assert len(module("certificates", **renamed)["made"]) == 6
    verified = openssl("verify", "-CAfile", tmp_path / "ca.crt", tmp_path / "client.crt", tmp_path / "server.crt")
    assert verified.count(": OK") == 2


def test_check_mode_writes_nothing(module: Run, tmp_path: Path) -> None:
    arguments = {"directory": str(tmp_path / "pki"), "authorities": [AUTHORITY], "certificates": [SERVER]}
    result = module("certificates", check=True, **arguments)
    assert result["changed"]
    assert not (tmp_path / "pki").exists()


def test_missing_authority_is_named(module: Run, tmp_path: Path) -> None:
    result = module(
        "certificates", directory=str(tmp_path), certificates=[{**SERVER, "authority": str(tmp_path / "no/ca")}]
    )
    assert result["failed"]
    assert "no/ca.crt" in result["msg"]
