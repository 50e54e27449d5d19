"""ACM whose certificates are signed by the sandbox's CA and written to files for the load balancer.

A certificate is issued once its validation records exist in Route 53, as on AWS:
https://docs.aws.amazon.com/acm/latest/userguide/dns-validation.html
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from moto.acm import models, urls
from moto.acm.models import AWSCertificateManagerBackend, CertBundle
from moto.core.exceptions import AWSError
from moto.core.utils import utcnow
from moto.elbv2.models import elbv2_backends
from moto.utilities.utils import get_partition

from iot_sandbox.aws import authority, route53, settings

# https://docs.aws.amazon.com/acm/latest/userguide/acm-certificate-characteristics.html
LIFETIME = timedelta(days=395)
NAME_LENGTH = 64  # of a certificate's common name (X.520)


class InUseError(AWSError):
    """A load balancer uses the certificate."""

    TYPE = "ResourceInUseException"


def write_for_load_balancer(folder: Path | None, arn: str, certificate: bytes, chain: bytes, key: bytes) -> None:
    """Write certificate, chain and key as `<certificate id>.pem`, mode 0600, in one step."""
    if not folder:
        return
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{arn.rpartition('/')[2]}.pem"
    draft = target.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(b"\n".join(part.strip() for part in (certificate, chain, key) if part.strip()) + b"\n")
    draft.replace(target)


def users(account_id: str, region: str, arn: str) -> list[str]:
    """ARNs of the load balancers that have the certificate at a listener."""
    balancers = elbv2_backends[account_id][region].load_balancers.values()
    return [
        balancer.arn
        for balancer in list(balancers)
        if any(arn in (listener.certificates or []) for listener in list(balancer.listeners.values()))
    ]


class IssuedBundle(CertBundle):
    """A certificate that ACM issues: pending until its names are validated."""

    dns_names: tuple[str, ...] = ()
    validation_method = "DNS"
    region = ""
    account_id = ""
    issued_at: datetime | None = None

    @classmethod
    def request(
        cls, names: Sequence[str], account_id: str, region: str, method: str, options: dict[str, Any] | None
    ) -> IssuedBundle:
        """Sign a certificate for the names; it is issued once check() finds them validated."""
        ca = authority.load(settings.current().ca_dir)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        common_name = [x509.NameAttribute(NameOID.COMMON_NAME, names[0])] if len(names[0]) <= NAME_LENGTH else []
        certificate = ca.sign_server(x509.Name(common_name), key.public_key(), datetime.now(UTC) + LIFETIME, names)
        bundle = cls(
            account_id,
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            region=region,
            cert_type="AMAZON_ISSUED",
            cert_status="PENDING_VALIDATION",
            cert_options=options,
        )
        bundle.chain = ca.pem.encode()
        bundle.dns_names = tuple(names)
        bundle.common_name = names[0]
        bundle.account_id, bundle.region, bundle.validation_method = account_id, region, method
        return bundle

    def check(self) -> None:
        """Update the status; once all names are validated, write the load balancer's file."""
        if self.status == "PENDING_VALIDATION" and all(self.validated(name) for name in self.dns_names):
            self.status = "ISSUED"
            self.issued_at = utcnow()
            write_for_load_balancer(settings.current().acm_dir, self.arn, self.cert, self.chain, self.key)
        elif self.status != "PENDING_VALIDATION":
            super().check()

    def validated(self, name: str) -> bool:
        """Whether name servers answer with the name's validation record; validation by mail succeeds at once."""
        if self.validation_method != "DNS":
            return True
        wanted, value = validation_record(self.account_id, name)
        zones = route53.backend(self.account_id, get_partition(self.region))
        for zone in list(zones.zones.values()):
            for record in zones.served(zone):
                values = [str(v).rstrip(".") for v in record.records]
                if record.name.rstrip(".") == wanted.rstrip(".") and record.type == "CNAME":
                    return value.rstrip(".") in values
        return False

    def describe(self) -> dict[str, Any]:
        """DescribeCertificate's answer."""
        answer = super().describe()
        certificate = answer["Certificate"]
        certificate["DomainName"] = self.dns_names[0]
        certificate["SubjectAlternativeNames"] = list(self.dns_names)
        certificate["RenewalEligibility"] = "ELIGIBLE" if self.status == "ISSUED" and self.in_use_by else "INELIGIBLE"
        certificate["DomainValidationOptions"] = [self._validation_option(name) for name in self.dns_names]
        certificate["IssuedAt"] = self.issued_at
        if self.status == "PENDING_VALIDATION":
            # Only an issued certificate has these.
            for member in ("IssuedAt", "NotBefore", "NotAfter", "Serial", "Issuer"):
                certificate.pop(member, None)
        return answer

    def _validation_option(self, name: str) -> dict[str, Any]:
        option: dict[str, Any] = {
            "DomainName": name,
            "ValidationDomain": name,
            "ValidationMethod": self.validation_method,
            "ValidationStatus": "SUCCESS" if self.status == "ISSUED" or self.validated(name) else "PENDING_VALIDATION",
        }
        if self.validation_method == "DNS":
            record, value = validation_record(self.account_id, name)
            option["ResourceRecord"] = {"Name": record, "Type": "CNAME", "Value": value}
        return option


def validation_record(account_id: str, name: str) -> tuple[str, str]:
    """Name and value of a domain's validation CNAME: the same for every request of the account.

    A wildcard shares its parent's record.
    """
    domain = name.removeprefix("*.")
    digest = hashlib.sha256(f"{account_id}/{domain}".encode()).hexdigest()
    letters = digest[32:42].translate(str.maketrans("0123456789", "ghijklmnop"))
    return f"_{digest[:32]}.{domain}.", f"_{digest[32:64]}.{letters}.acm-validations.aws."


class SandboxACMBackend(AWSCertificateManagerBackend):
    """ACM of one account and region."""

    validation_method = "DNS"

    @property
    def _url_module(self) -> ModuleType:
        return urls

    def request_certificate(  # noqa: PLR0917 - moto's signature
        self,
        domain_name: str,
        idempotency_token: str,
        subject_alt_names: list[str],
        tags: list[dict[str, str]],
        cert_authority_arn: str | None = None,
        cert_options: dict[str, Any] | None = None,
    ) -> str:
        """RequestCertificate; moto handles private authorities."""
        if cert_authority_arn:
            return super().request_certificate(
                domain_name, idempotency_token, subject_alt_names, tags, cert_authority_arn, cert_options
            )
        if idempotency_token is not None:
            known = self._get_arn_from_idempotency_token(idempotency_token)
            if known in self._certificates:
                return str(known)
        names = list(dict.fromkeys([domain_name, *(subject_alt_names or [])]))
        options = {
            "CertificateTransparencyLoggingPreference": "ENABLED",
            "Export": "DISABLED",
            **(cert_options or {}),
        }
        bundle = IssuedBundle.request(names, self.account_id, self.region_name, self.validation_method, options)
        if tags:
            bundle.tags.add(tags)
        self._certificates[bundle.arn] = bundle
        if idempotency_token is not None:
            self._set_idempotency_token_arn(idempotency_token, bundle.arn)
        return bundle.arn

    def import_certificate(
        self,
        certificate: bytes,
        private_key: bytes,
        chain: bytes | None,
        arn: str | None,
        tags: list[dict[str, str]],
    ) -> str:
        """ImportCertificate; the load balancer serves the chain as imported."""
        imported = super().import_certificate(certificate, private_key, chain, arn, tags)
        write_for_load_balancer(settings.current().acm_dir, imported, certificate, chain or b"", private_key)
        return imported

    def get_certificate(self, arn: str) -> CertBundle:
        """The certificate, with the load balancers that use it now."""
        bundle = super().get_certificate(arn)
        bundle.in_use_by = users(self.account_id, self.region_name, arn)
        return bundle

    def delete_certificate(self, arn: str) -> None:
        """DeleteCertificate: refused while a load balancer uses it."""
        if arn in self._certificates and self.get_certificate(arn).in_use_by:
            raise InUseError(f"Certificate {arn} in account {self.account_id} is in use.")
        super().delete_certificate(arn)
        folder = settings.current().acm_dir
        if folder:
            (folder / f"{arn.rpartition('/')[2]}.pem").unlink(missing_ok=True)


def install() -> None:
    """Replace moto's backend."""
    models.acm_backends.backend = SandboxACMBackend
