"""What the tests of the modules share: the round that every change goes through, documents, keys."""

import datetime as dt
from collections.abc import Callable
from importlib import import_module
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Run = Callable[..., dict[str, Any]]
Aws = Callable[[str], Any]
ACCOUNT = "arn:aws:iot:us-east-2:123456789012"


def imported(module: str) -> Any:
    """Return a module of iotweb.aws_iot by its name, one of another collection by `deployment.<name>`."""
    collection, _, name = module.rpartition(".")
    return import_module(f"ansible_collections.iotweb.{collection or 'aws_iot'}.plugins.modules.{name}")


def client(endpoint: str) -> Any:
    """A boto3 client of an emulated IoT Core, or of a proxy before one."""
    import boto3  # noqa: PLC0415 - after the finder

    return boto3.client("iot", endpoint_url=endpoint, region_name="us-east-2",
                        aws_access_key_id="a", aws_secret_access_key="b")  # fmt: skip


def prediction_holds(run: Run, module: str, result: str, **options: Any) -> dict[str, Any]:
    """Run a module in check mode, then really, then again; return the real result."""
    predicted = run(module, check=True, **options)
    real = run(module, **options)
    again = run(module, **options)
    assert not real.get("failed"), real["msg"]
    assert predicted["changed"] is real["changed"]
    for name, value in predicted[result].items():
        assert real[result][name] == value, name
    for name, value in predicted["diff"]["after"].items():
        assert real["diff"]["after"][name] == value, name
    assert predicted["diff"]["before"] == real["diff"]["before"]
    assert (real["diff"]["before"] != real["diff"]["after"]) is real["changed"]
    assert again["changed"] is False
    assert again[result] == real[result]
    assert again["diff"]["before"] == again["diff"]["after"]
    return real


def document(*actions: str) -> dict[str, Any]:
    """A policy that allows some actions."""
    resource = f"{ACCOUNT}:client/${{iot:Connection.Thing.ThingName}}"
    statement = {"Effect": "Allow", "Action": list(actions), "Resource": resource}
    return {"Version": "2012-10-17", "Statement": [statement]}


def pair() -> tuple[str, str]:
    """A CSR and a certificate for the same new key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now).not_valid_after(now + dt.timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    return csr.public_bytes(pem).decode(), certificate.public_bytes(pem).decode()
