"""AWS's signature, version 4, for one kind of request over and over.

botocore's signer builds everything for each request; here whatever stays the same is kept: the day's key, the
scope, the shape of the canonical request. The tests compare it with botocore's, byte for byte.
"""

import hmac
import time
from hashlib import sha256
from urllib.parse import urlsplit

from botocore.credentials import ReadOnlyCredentials

CONTENT_TYPE = "application/x-amz-json-1.0"


class Signer:
    """Signs POSTs of JSON to one operation of one AWS service."""

    def __init__(self, url: str, region: str, service: str, target: str) -> None:
        parts = urlsplit(url)
        default = {"http": 80, "https": 443}[parts.scheme]
        self._host = parts.hostname if parts.port in {None, default} else f"{parts.hostname}:{parts.port}"
        self._path = parts.path or "/"
        self._region = region
        self._service = service
        self._target = target
        self._kept_for: tuple[str, ReadOnlyCredentials] | None = None
        self._key = b""
        self._scope = self._signed = self._token = ""

    def headers(self, body: bytes, credentials: ReadOnlyCredentials) -> dict[str, str]:
        """The headers with which `body` is sent now."""
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        if self._kept_for != (moment[:8], credentials):
            self._keep(moment[:8], credentials)
        digest = sha256(body).hexdigest()
        token = f"x-amz-security-token:{self._token}\n" if self._token else ""
        canonical = (
            f"POST\n{self._path}\n\ncontent-type:{CONTENT_TYPE}\nhost:{self._host}\nx-amz-date:{moment}\n{token}"
            f"x-amz-target:{self._target}\n\n{self._signed}\n{digest}"
        )
        digest = sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{moment}\n{self._scope}\n{digest}"
        signature = hmac.digest(self._key, text.encode(), "sha256").hex()
        headers = {
            "X-Amz-Target": self._target,
            "Content-Type": CONTENT_TYPE,
            "X-Amz-Date": moment,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{self._scope}, "
            f"SignedHeaders={self._signed}, Signature={signature}",
        }
        if self._token:
            headers["X-Amz-Security-Token"] = self._token
        return headers

    def request(self, body: bytes, credentials: ReadOnlyCredentials) -> bytes:
        """The request as it goes over the wire."""
        headers = "".join([f"{name}: {value}\r\n" for name, value in self.headers(body, credentials).items()])
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._host}\r\nAccept-Encoding: identity\r\n{headers}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _keep(self, day: str, credentials: ReadOnlyCredentials) -> None:
        key = f"AWS4{credentials.secret_key}".encode()
        for part in (day, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        self._key = key
        self._scope = f"{day}/{self._region}/{self._service}/aws4_request"
        self._token = credentials.token or ""
        token = "x-amz-security-token;" if self._token else ""
        self._signed = f"content-type;host;x-amz-date;{token}x-amz-target"
        self._kept_for = (day, credentials)
