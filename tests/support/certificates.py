"""Keys and certificates by openssl, valid for two days."""

import ssl
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path


def make_certificate(folder: Path, name: str, *options: str, subject: str = "") -> Path:
    """Write `name`.crt and `name`.key to the folder and return the certificate's path.

    The certificate signs itself unless the options of `openssl req` name an authority; its common
    name is `subject`, or else `name`. A key is P-256, as AWS IoT's own are.
    """
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={subject or name}", *options],
        cwd=folder, check=True, capture_output=True)
    return folder / f"{name}.crt"


@dataclass
class Identity:
    """A certificate with its key as files, and its id as AWS IoT names it: SHA-256 of the DER form."""

    id: str
    certificate: Path
    key: Path


class Authority:
    """A CA of the tests' own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = make_certificate(folder, "ca", subject="Test CA")

    def issue(self, name: str, common_name: str = "AWS IoT Certificate") -> Identity:
        """A certificate that this CA signed, for localhost and 127.0.0.1."""
        made = make_certificate(
            self.folder, name, "-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "basicConstraints=critical,CA:FALSE",
            "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", subject=common_name)
        der = ssl.PEM_cert_to_DER_cert(made.read_text())
        return Identity(sha256(der).hexdigest(), made, made.with_suffix(".key"))
