"""Ansible module: certificate authorities, certificates and kubeconfigs, many in one task."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DOCUMENTATION = """
module: certificates
short_description: Authorities, certificates and kubeconfigs
description:
  - Makes each that is missing, was not signed by its authority, ends soon, or is for other names.
  - One task does all, as Kubernetes needs more than a dozen of them.
author: IoT receiver contributors (@iotweb)
options:
  directory: {description: "Folder of <name>.crt and <name>.key.", type: path, required: true}
  authorities:
    description: 'Authorities made if need be (name, common_name).'
    type: list
    elements: dict
    default: []
  certificates:
    description: >-
      Certificates: name, common_name, authority (name, or path without .crt) and, if need be, organization,
      names (DNS), addresses (IP), server (else for clients), chain_key (path of a file with certificate
      and key).
    type: list
    elements: dict
    default: []
  signing_keys: {description: "RSA keys (<name>.key, <name>.pub).", type: list, elements: str, default: []}
  kubeconfigs:
    description: "Kubeconfigs: path, certificate, authority, server; everything embedded."
    type: list
    elements: dict
    default: []
  bundles:
    description: Files (path) of the system's authorities and one of ours (authority).
    type: list
    elements: dict
    default: []
"""
EXAMPLES = """
- name: Registry has a certificate
  certificates:
    directory: /var/lib/sandbox/registry
    certificates:
      - {name: server, common_name: registry, authority: /var/lib/sandbox/ca/ca, names: [a.b], server: true}
"""
RETURN = """
made: {description: Paths of the files written., type: list, elements: str, returned: always}
"""

SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
YEAR = datetime.timedelta(days=365)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Pair:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key


class Maker:
    """Compares files with what they should hold and writes the difference; with check, only lists it."""

    def __init__(self, directory: Path, check: bool) -> None:
        self.directory, self.check = directory, check
        self.made: list[str] = []
        self.pairs: dict[str, Pair] = {}

    def write(self, path: Path, content: bytes, mode: int = 0o644) -> None:
        """Write a file whole or not at all."""
        self.made.append(str(path))
        if self.check:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        new.replace(path)

    def load(self, base: Path) -> Pair | None:
        """The pair on disk, if it is whole and fits together."""
        try:
            certificate = x509.load_pem_x509_certificate(base.with_suffix(".crt").read_bytes())
            key = serialization.load_pem_private_key(base.with_suffix(".key").read_bytes(), None)
        except (OSError, ValueError):
            return None
        fits = isinstance(key, Key) and key.public_key() == certificate.public_key()
        ends = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
        return Pair(certificate, key) if isinstance(key, Key) and fits and ends > YEAR / 12 else None

    def save(self, base: Path, pair: Pair) -> None:
        """Key first: a certificate is there only with its key."""
        self.write(base.with_suffix(".key"), pem(pair.key), 0o600)
        self.write(base.with_suffix(".crt"), pair.certificate.public_bytes(serialization.Encoding.PEM))

    def authority(self, name: str, common_name: str) -> None:
        """An authority that may sign everything."""
        base = self.directory / name
        pair = self.load(base)
        if pair is None:
            key = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
            builder = (
                started(subject, key.public_key(), 10 * YEAR)
                .issuer_name(subject)
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                .add_extension(usage(signs=True), critical=True)
            )
            pair = Pair(builder.sign(key, hashes.SHA256()), key)
            self.save(base, pair)
        self.pairs[name] = pair

    def issuer(self, name: str) -> Pair:
        """An authority of this task, or one on disk by its path. Raises ValueError if there is none."""
        if name not in self.pairs:
            pair = self.load(Path(name))
            if pair is None:
                raise ValueError(f"There is no certificate authority {name}.crt with {name}.key.")
            self.pairs[name] = pair
        return self.pairs[name]

    def certificate(self, wanted: dict[str, Any]) -> None:
        """One certificate as described."""
        try:
            issuer = self.issuer(wanted["authority"])
        except ValueError:
            if not self.check:
                raise
            self.made.append(str(self.directory / f"{wanted['name']}.crt"))
            return
        base = self.directory / wanted["name"]
        pair = self.load(base)
        extensions, subject = described(wanted)
        if pair is None or not as_wanted(pair, subject, extensions, issuer):
            key = ec.generate_private_key(ec.SECP256R1())
            builder = started(subject, key.public_key(), 2 * YEAR).issuer_name(issuer.certificate.subject)
            for extension in extensions:
                builder = builder.add_extension(extension, critical=isinstance(extension, x509.KeyUsage))
            builder = builder.add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
            )
            pair = Pair(builder.sign(issuer.key, hashes.SHA256()), key)
            self.save(base, pair)
        self.pairs[wanted["name"]] = pair
        if wanted.get("chain_key"):
            self.content(Path(wanted["chain_key"]), chain(pair, issuer) + pem(pair.key), 0o600)

    def content(self, path: Path, content: bytes, mode: int = 0o644) -> None:
        """A file with this content."""
        if not path.exists() or path.read_bytes() != content:
            self.write(path, content, mode)

    def signing_key(self, name: str) -> None:
        """An RSA key with its public half."""
        path = self.directory / f"{name}.key"
        if not path.exists():
            self.write(path, pem(rsa.generate_private_key(65537, 2048)), 0o600)
        if path.exists():
            key = serialization.load_pem_private_key(path.read_bytes(), None)
            public = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            self.content(path.with_suffix(".pub"), public)

    def kubeconfig(self, wanted: dict[str, Any]) -> None:
        """A kubeconfig with everything embedded; JSON is YAML."""
        if wanted["certificate"] not in self.pairs:
            self.made.append(wanted["path"])
            return
        pair, authority = self.pairs[wanted["certificate"]], self.pairs[wanted["authority"]]
        cluster = {"server": wanted["server"], "certificate-authority-data": encoded(public(authority))}
        user = {"client-certificate-data": encoded(public(pair)), "client-key-data": encoded(pem(pair.key))}
        name = wanted["certificate"]
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sandbox", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": name}}],
            "current-context": "sandbox",
        }
        self.content(Path(wanted["path"]), (json.dumps(config, indent=1) + "\n").encode(), 0o600)


def started(subject: x509.Name, key: Any, lasts: datetime.timedelta) -> x509.CertificateBuilder:
    """What all certificates have; valid from an hour ago, for clocks that differ."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + lasts)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def usage(signs: bool) -> x509.KeyUsage:
    """Key usage of an authority or a leaf."""
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def described(wanted: dict[str, Any]) -> tuple[list[x509.ExtensionType], x509.Name]:
    """Extensions and subject that a description asks for."""
    organizations = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in [wanted.get("organization")] if each
    ]
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if wanted.get("server") else ExtendedKeyUsageOID.CLIENT_AUTH
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in wanted.get("names", [])]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in wanted.get("addresses", [])]
    extensions: list[x509.ExtensionType] = [usage(signs=False), x509.ExtendedKeyUsage([purpose])]
    if names:
        extensions.append(x509.SubjectAlternativeName(names))
    return extensions, x509.Name(
        [*organizations, x509.NameAttribute(NameOID.COMMON_NAME, wanted["common_name"])]
    )


def as_wanted(pair: Pair, subject: x509.Name, extensions: list[x509.ExtensionType], issuer: Pair) -> bool:
    """True if the certificate is the described one and signed by the issuer."""
    there = {extension.oid: extension.value for extension in pair.certificate.extensions}
    if pair.certificate.subject != subject or any(there.get(each.oid) != each for each in extensions):
        return False
    try:
        pair.certificate.verify_directly_issued_by(issuer.certificate)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def pem(key: Key) -> bytes:
    """Key as PEM (PKCS 8)."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public(pair: Pair) -> bytes:
    """Certificate as PEM."""
    return pair.certificate.public_bytes(serialization.Encoding.PEM)


def chain(pair: Pair, issuer: Pair) -> bytes:
    """Certificate and its issuer's."""
    return public(pair) + public(issuer)


def encoded(content: bytes) -> str:
    """Base64, as kubeconfigs embed files."""
    return base64.b64encode(content).decode()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "authorities": {"type": "list", "elements": "dict", "default": []},
            "certificates": {"type": "list", "elements": "dict", "default": []},
            "signing_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
            "kubeconfigs": {"type": "list", "elements": "dict", "default": []},
            "bundles": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    arguments = module.params
    maker = Maker(Path(arguments["directory"]), module.check_mode)
    try:
        for each in arguments["authorities"]:
            maker.authority(each["name"], each["common_name"])
        for each in arguments["certificates"]:
            maker.certificate(each)
        for each in arguments["signing_keys"]:
            maker.signing_key(each)
        for each in arguments["kubeconfigs"]:
            maker.kubeconfig(each)
        for each in arguments["bundles"]:
            system = SYSTEM_BUNDLE.read_bytes() if SYSTEM_BUNDLE.exists() else b""
            maker.content(Path(each["path"]), system + public(maker.pairs[each["authority"]]))
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{type(error).__name__}: {error}")
    lines = "".join(f"+{path}\n" for path in maker.made)
    module.exit_json(changed=bool(maker.made), made=maker.made, diff={"prepared": lines})


if __name__ == "__main__":
    main()
