"""The confirmation message that AWS IoT sends to a new HTTP destination.

https://docs.aws.amazon.com/iot/latest/developerguide/http-action-destination.html
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit


class ChallengeError(RuntimeError):
    """The endpoint could not be reached or refused; the message is the destination's statusReason."""


@dataclass(frozen=True)
class Challenge:
    """What is sent to `{confirmation_url}/?confirmationToken={token}`."""

    confirmation_url: str
    destination_arn: str
    token: str
    enable_url: str
    quoted: bool = False
    """AWS's guide prints the header's ARN between quotes; nobody has seen a real request yet."""

    def target(self) -> str:
        """Path and query of the request: AWS puts a `/` before the `?`, whatever the URL ends in."""
        path = urlsplit(self.confirmation_url).path.rstrip("/")
        return f"{path}/?confirmationToken={quote(self.token, safe='')}"

    def headers(self) -> dict[str, str]:
        """Headers of the request; a rule's own headers are not among them."""
        return {
            "Content-Type": "application/json",
            "x-amz-rules-engine-message-type": "DestinationConfirmation",
            "x-amz-rules-engine-destination-arn": f'"{self.destination_arn}"' if self.quoted else self.destination_arn,
        }

    def body(self) -> bytes:
        """Body of the request, in UTF-8."""
        return json.dumps(
            {
                "arn": self.destination_arn,
                "confirmationToken": self.token,
                "enableUrl": self.enable_url,
                "messageType": "DestinationConfirmation",
            }
        ).encode()


class _IPv4Connection(http.client.HTTPSConnection):
    """AWS IoT confirms over IPv4 only."""

    def connect(self) -> None:
        found = socket.getaddrinfo(self.host, self.port, socket.AF_INET, socket.SOCK_STREAM)
        failure: OSError = OSError("no IPv4 address")
        for family, kind, protocol, _, address in found:
            plain = socket.socket(family, kind, protocol)
            plain.settimeout(self.timeout)
            try:
                plain.connect(address)
            except OSError as error:
                plain.close()
                failure = error
                continue
            context: ssl.SSLContext = self._context  # type: ignore[attr-defined]
            self.sock = context.wrap_socket(plain, server_hostname=self.host)
            return
        raise failure


def send(challenge: Challenge, ca_bundle: Path | None, timeout: float) -> None:
    """POST the challenge; the certificate must chain to the bundle (default: the system's CAs).

    `timeout` is in seconds, for each step of the exchange. Raises ChallengeError.
    """
    url = urlsplit(challenge.confirmation_url)
    try:
        context = ssl.create_default_context(cafile=str(ca_bundle) if ca_bundle else None)
        connection = _IPv4Connection(url.hostname or "", url.port or 443, timeout=timeout, context=context)
        try:
            connection.request("POST", challenge.target(), challenge.body(), challenge.headers())
            status = connection.getresponse().status
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ChallengeError(f"Confirmation message could not be delivered: {error or type(error).__name__}") from error
    if not 200 <= status < 300:
        raise ChallengeError(f"Confirmation message was answered with HTTP status {status}")
