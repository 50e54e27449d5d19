"""The sandbox's certificate authority: signs what AWS IoT's and ACM's authorities sign on AWS."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

# Devices' clocks differ a little; a new certificate must be valid for all of them.
CLOCK_SKEW = timedelta(minutes=5)


class AuthorityError(RuntimeError):
    """The authority's files are missing or unusable; the message names them."""


class Authority:
    """Key and certificate of one CA, read from a folder that holds `ca.crt` and `ca.key`."""

    def __init__(self, folder: Path) -> None:
        try:
            self.certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
            key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        except (OSError, ValueError) as error:
            raise AuthorityError(f"no usable ca.crt and ca.key in {folder} (SANDBOX_CA_DIR): {error}") from error
        if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
            raise AuthorityError(f"{folder}/ca.key is neither an RSA nor an EC key")
        self._key: SigningKey = key

    @property
    def pem(self) -> str:
        """The CA's own certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def sign_client(self, subject: x509.Name, public_key: PublicKey, not_after: datetime) -> x509.Certificate:
        """Sign a device's certificate (TLS client)."""
        return self._sign(subject, public_key, not_after, [ExtendedKeyUsageOID.CLIENT_AUTH], ())

    def sign_server(
        self, subject: x509.Name, public_key: PublicKey, not_after: datetime, names: Sequence[str]
    ) -> x509.Certificate:
        """Sign a certificate for a server's names: DNS names, wildcards or IP addresses."""
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        return self._sign(subject, public_key, not_after, usages, names)

    def _sign(
        self,
        subject: x509.Name,
        public_key: PublicKey,
        not_after: datetime,
        usages: list[x509.ObjectIdentifier],
        names: Sequence[str],
    ) -> x509.Certificate:
        start = max(datetime.now(UTC) - CLOCK_SKEW, self.certificate.not_valid_before_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            # Clients refuse a certificate that outlives its authority.
            .not_valid_after(min(not_after, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(public_key), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())


def accepted_public_key(key: object) -> PublicKey | None:
    """The key, if AWS IoT accepts its kind: RSA of 2048 bits or more, or EC P-256, P-384, P-521.

    https://docs.aws.amazon.com/iot/latest/developerguide/x509-client-certs.html
    """
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in (
        "secp256r1",
        "secp384r1",
        "secp521r1",
    ):
        return key
    return None


def _key_usage(key: PublicKey) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=isinstance(key, rsa.RSAPublicKey),
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@lru_cache(maxsize=4)
def load(folder: Path) -> Authority:
    """The authority of a folder, read once.

    Raises AuthorityError.
    """
    return Authority(folder)
