"""When a certificate begins and ends, read from its DER: the standard library has no parser for it.

RFC 5280, section 4.1; ITU-T X.690 for the encoding.
"""

import base64
from datetime import UTC, datetime
from pathlib import Path

EXPLICIT_VERSION = 0xA0
UTC_TIME = 0x17


def _element(data: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of the element at an offset, and where its content begins and ends."""
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(data[start : start + size], "big")
        start += size
    if start + length > len(data):
        raise ValueError("the certificate ends too early")
    return tag, start, start + length


def _time(data: bytes, at: int) -> tuple[datetime, int]:
    tag, start, end = _element(data, at)
    text = data[start:end].decode("ascii")
    if tag == UTC_TIME:  # two digits of the year: 50 to 99 are of the 20th century
        text = ("19" if int(text[:2]) >= 50 else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC), end


def validity(path: Path) -> tuple[datetime, datetime]:
    """Return from when to when the first certificate of a PEM file is valid. Raises OSError, ValueError."""
    head, foot = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    body = path.read_text().partition(head)[2].partition(foot)[0]
    try:
        data = base64.b64decode(body)
        _, at, _ = _element(data, 0)  # Certificate
        _, at, _ = _element(data, at)  # TBSCertificate
        if data[at] == EXPLICIT_VERSION:
            _, _, at = _element(data, at)
        for _ in ("serial number", "signature algorithm", "issuer"):
            _, _, at = _element(data, at)
        _, at, _ = _element(data, at)  # Validity
        begins, at = _time(data, at)
        ends, _ = _time(data, at)
    except (IndexError, ValueError) as error:
        raise ValueError(f"{path} holds no certificate in PEM: {error}") from error
    return begins, ends


def expiry(path: Path) -> float | None:
    """Return when a certificate ends, in seconds since 1970; None if it cannot be read."""
    try:
        return validity(path)[1].timestamp()
    except (OSError, ValueError):
        return None
