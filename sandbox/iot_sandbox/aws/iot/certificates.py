"""Device certificates signed by the sandbox's CA, where AWS IoT signs by its own.

https://docs.aws.amazon.com/iot/latest/developerguide/device-certs-create.html
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from moto.iot.exceptions import InvalidRequestException
from moto.iot.models import FakeCertificate

from iot_sandbox.aws.authority import Authority, accepted_public_key

# AWS IoT's own certificates expire then.
NOT_AFTER = datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)
SETTABLE = ("ACTIVE", "INACTIVE", "REVOKED")


class Certificate(FakeCertificate):
    """A certificate whose id, validity and description come from the certificate itself."""

    def __init__(self, pem: str, status: str, account_id: str, region: str, ca_id: str | None = None) -> None:
        super().__init__(pem, status, account_id, region, ca_id)
        parsed = _parse(pem)
        self.validity_not_before = parsed.not_valid_before_utc
        self.validity_not_after = parsed.not_valid_after_utc
        self.version = 1

    def compute_cert_id(self, certificate_pem: str) -> str:
        """SHA-256 of the certificate (DER), as AWS IoT's certificate ids are."""
        return hashlib.sha256(_parse(certificate_pem).public_bytes(serialization.Encoding.DER)).hexdigest()

    def to_description_dict(self) -> dict[str, Any]:
        """The API's CertificateDescription."""
        return {
            **super().to_description_dict(),
            "caCertificateId": self.ca_certificate_id,
            "certificateMode": "DEFAULT",
            "customerVersion": self.version,
            "generationId": self.certificate_id[:32],
        }


def new_key_and_certificate(authority: Authority) -> tuple[str, dict[str, str]]:
    """A certificate with a new key of 2048 bits, as CreateKeysAndCertificate makes it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "AWS IoT Certificate")])
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    certificate = authority.sign_client(subject, key.public_key(), NOT_AFTER)
    return _pem(certificate), {"PublicKey": public.decode(), "PrivateKey": private.decode()}


def certificate_for_request(authority: Authority, csr: str) -> str:
    """A certificate for the key and subject of a certificate signing request (PEM).

    Raises InvalidRequestException if it is no request, or its key is of a kind that AWS IoT refuses.
    """
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        key = accepted_public_key(request.public_key()) if request.is_signature_valid else None
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidRequestException(f"The certificate signing request is not valid: {error}") from error
    if key is None:
        raise InvalidRequestException(
            "The certificate signing request must be signed with an RSA key of 2048 bits or more, "
            "or with EC P-256, P-384 or P-521"
        )
    return _pem(authority.sign_client(request.subject, key, NOT_AFTER))


def _parse(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError as error:
        raise InvalidRequestException(f"The certificate is not valid: {error}") from error


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
