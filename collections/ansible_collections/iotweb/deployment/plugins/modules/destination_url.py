#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: destination_url
version_added: 2.0.0
short_description: Check the URL of a rule's destination as AWS IoT will
description:
  - Resolves the name, verifies the certificate's chain, asks for the receiver's health and tries the paths of
    readings and of the confirmation, at every address of the name.
  - Fails with the first fault that AWS would meet, and its fix. In check mode this is a warning.
  - Sends no secret and no true token, and changes nothing. Proxies of the environment are not used.
  - Ours refuses a post without the secret, as C(application/problem+json). One that takes it is another receiver,
    another backend or a fixed response; RV(taken) names it, in case the confirmation never arrives.
  - "Source: AWS IoT Core Developer Guide, HTTP action destinations."
author:
  - IoT receiver contributors (@iotweb)
options:
  url:
    description: The destination's URL.
    type: str
    required: true
  health_path:
    description: Path on the same host that answers with status 200 while the receiver is well.
    type: str
    default: /metrics
  ca_file:
    description: File of authorities that are trusted beside those of the machine.
    type: path
  private_addresses:
    description: Whether the name may have an address that cannot be reached from the internet.
    type: bool
    default: false
  wait_timeout:
    description: How long to look again before giving up, in seconds; DNS and load balancers take a while.
    type: float
    default: 30
  wait_delay:
    description: Time between two looks, in seconds.
    type: float
    default: 3
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
"""

EXAMPLES = r"""
- name: Check the URL before AWS IoT does
  iotweb.deployment.destination_url:
    url: https://ingest.example.com/ingest
"""

RETURN = r"""
addresses:
  description: The name's IPv4 addresses.
  type: list
  elements: str
  returned: success
taken:
  description: Paths at which somebody takes a post without the secret, and so is not this project's receiver.
  type: list
  elements: str
  returned: success
fault:
  description: The fault that AWS would meet, in check mode.
  type: str
  returned: in check mode
"""

import ipaddress
import json
import socket
import ssl
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ansible.module_utils.basic import AnsibleModule

STEP_S = 5  # for each connection, and each answer
EXAMPLE = "https://ingest.example.com/ingest"
DEPLOY = "ansible-playbook site.yml --tags receiver"
ACM = "the load balancer's listener needs the domain's certificate of ACM"
# OpenSSL's codes of a chain that was refused, and what to do: openssl-verification-options(1)
CERTIFICATES = {
    9: ("is not valid yet", f"look at this machine's clock; else {ACM}"),
    10: ("has expired", f"renew it; {ACM}, which renews it by itself"),
    18: ("is self-signed", f"AWS takes certificates of public authorities only: {ACM}"),
    19: ("ends in a self-signed authority that is not a public one", f"AWS takes public authorities only: {ACM}"),
    20: (
        "does not lead to a public authority",
        f"the authority is a private one, or the server leaves out intermediate certificates: {ACM}",
    ),
    21: (
        "does not lead to a public authority",
        f"the authority is a private one, or the server leaves out intermediate certificates: {ACM}",
    ),
    62: ("is for another name", f"{ACM}, not another domain's"),
}


class Fault(RuntimeError):  # noqa: N818 - of the URL, not of this program
    """A fault that AWS would meet, with its fix."""


@dataclass(frozen=True)
class Answer:
    """What matters of an HTTP answer."""

    status: int
    content_type: str
    location: str

    @property
    def problem(self) -> bool:
        """Whether the receiver itself refuses: what stands before it has no such answers."""
        return self.content_type.startswith("application/problem+json")


class Connection(HTTPConnection):
    """A TLS connection to one address of a name."""

    default_port = 443

    def __init__(self, url: SplitResult, address: str, context: ssl.SSLContext) -> None:
        super().__init__(url.hostname or "", url.port or 443, timeout=STEP_S)
        self.address, self.context = address, context

    def connect(self) -> None:
        """Connect, and verify the certificate."""
        plain = socket.create_connection((self.address, self.port), STEP_S)
        try:
            self.sock = self.context.wrap_socket(plain, server_hostname=self.host)
        except OSError:
            plain.close()
            raise


def read(url: str) -> SplitResult:
    """The parts of a URL. Raises Fault unless they are those of one that AWS takes."""
    try:
        parts = urlsplit(url)
        (parts.hostname or "").encode("idna")  # as the resolver has it
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except (UnicodeError, ValueError) as error:
        raise Fault(f"it is not a URL ({error}): set iot_core_destination_url to one such as {EXAMPLE}") from error
    if not usable:
        raise Fault(f"AWS posts to https:// only: set iot_core_destination_url to a URL such as {EXAMPLE}")
    return parts


class Look:
    """One look at a URL. Every method raises Fault."""

    def __init__(self, url: str, health_path: str, ca_file: str | None, private_addresses: bool) -> None:
        self.url, self.health_path, self.private_addresses = read(url), health_path, private_addresses
        self.taken: list[str] = []  # paths at which somebody takes a post without the secret
        self.host = self.url.hostname or ""
        self.context = ssl.create_default_context()
        if ca_file:
            self.context.load_verify_locations(ca_file)

    def all(self) -> list[str]:
        """Look at everything, in the order in which AWS meets it; the addresses."""
        found, self.taken = self.addresses(), []
        path = self.url.path.rstrip("/")
        for address in found:
            self.health(address)
            self.routed(address, self.url.path or "/", "readings are posted to", {})
            self.routed(
                address,
                f"{path}/?confirmationToken=none",  # what AWS makes of a URL, whatever it ends in
                "AWS posts its confirmation to",
                {"x-amz-rules-engine-message-type": "DestinationConfirmation"},
            )
        return found

    def addresses(self) -> list[str]:
        """The IPv4 addresses of the name."""
        try:
            found = socket.getaddrinfo(self.host, None, proto=socket.IPPROTO_TCP)
        except OSError as error:
            raise Fault(
                f"the name {self.host} does not resolve ({error.strerror or error}): make its DNS record. `{DEPLOY}`"
                " makes it in Route 53, or names the record to make; a new one takes minutes to be known everywhere"
            ) from error
        addresses = sorted({str(entry[4][0]) for entry in found if entry[0] == socket.AF_INET})
        if not addresses:
            raise Fault(
                f"the name {self.host} has no IPv4 address, and AWS confirms destinations over IPv4 only: give it an"
                " A record"
            )
        private = [address for address in addresses if not ipaddress.ip_address(address).is_global]
        if private and not self.private_addresses:
            raise Fault(
                f"the name {self.host} resolves to {private[0]}, which AWS cannot reach: it needs an internet-facing"
                " load balancer. Where only your own network sees that address, set iot_core_private_addresses: true"
            )
        return addresses

    def health(self, address: str) -> None:
        """The receiver behind an address is well."""
        answer = self.ask(address, "GET", self.health_path)
        if answer.status != 200:
            raise Fault(f"GET {self.health_path} at {address} {self.failure(answer, self.health_path)}")

    def routed(self, address: str, target: str, purpose: str, headers: dict[str, str]) -> None:
        """What is posted to a path arrives at the receiver, which then refuses it, or at one that takes all."""
        body = json.dumps({"messageType": "DestinationConfirmation", "confirmationToken": "none"}) if headers else "{}"
        answer = self.ask(address, "POST", target, body, {"Content-Type": "application/json", **headers})
        refused = answer.problem and answer.status not in (404, 405) and 400 <= answer.status < 500
        path = target.partition("?")[0]
        if 200 <= answer.status < 300:
            self.taken.append(path)
        elif not refused:
            raise Fault(f"POST {path}, where {purpose}, at {address} {self.failure(answer, path)}")

    def failure(self, answer: Answer, path: str) -> str:
        """What an answer means, and what to do."""
        status = f"answers {answer.status}"
        if answer.status == 503 and not answer.problem:
            return (
                f"{status}: the load balancer has no healthy target. See whether the receiver's pods are ready (kubectl"
                f" get pods -l app.kubernetes.io/name=iot-receiver -A), or deploy it again: {DEPLOY}"
            )
        if answer.status >= 500:
            return f"{status}: the receiver does not answer well. See its pods' logs, or deploy it again: {DEPLOY}"
        if answer.status in (404, 405):
            return (
                f"{status}: the path {path} is not routed to the receiver. The Ingress must route {self.host} with"
                f" {self.url.path.rstrip('/') or '/'} as Prefix, since AWS confirms with a slash at the end, and"
                f" {self.health_path}. To fix it: {DEPLOY}"
            )
        if 300 <= answer.status < 400:
            return f"{status}: it redirects to {answer.location}, and AWS follows no redirect. Give the final URL"
        return (
            f"{status}: something before the receiver refuses the request, such as a firewall or a login. Exempt"
            f" {self.host}{path} from it"
        )

    def ask(
        self, address: str, method: str, target: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request to one address."""
        place = f"{address}:{self.url.port or 443}"
        connection = Connection(self.url, address, self.context)
        try:
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            answer.read()
        except ssl.SSLCertVerificationError as error:
            what, do = CERTIFICATES.get(error.verify_code, (f"is refused ({error.verify_message})", ACM))
            raise Fault(f"the certificate that {place} shows for {self.host} {what}: {do}") from error
        except ssl.SSLError as error:
            raise Fault(
                f"{place} does not agree on TLS 1.2 or newer ({error.reason or error}): {ACM}, and a TLS policy of"
                " today"
            ) from error
        except TimeoutError as error:
            raise Fault(
                f"{place} does not answer within {STEP_S} s: a firewall or security group may keep us out, and AWS too."
                f" The load balancer must be open to the internet on this port (receiver_inbound_ranges): {DEPLOY}"
            ) from error
        except (OSError, HTTPException) as error:
            raise Fault(
                f"{place} breaks the connection off ({error}): nothing serves HTTPS there. Deploy it: {DEPLOY}"
            ) from error
        finally:
            connection.close()
        return Answer(answer.status, answer.headers.get_content_type(), answer.headers.get("Location", ""))


def usable(wanted: dict[str, Any], timeout: float) -> dict[str, list[str]]:
    """What was found once AWS can use the URL. Raises Fault when that does not come, OSError for ca_file."""
    look = Look(wanted["url"], wanted["health_path"], wanted["ca_file"], wanted["private_addresses"])
    until = time.monotonic() + timeout
    while True:
        try:
            return {"addresses": look.all(), "taken": sorted(set(look.taken))}
        except Fault:
            if time.monotonic() >= until:
                raise
        time.sleep(max(wanted["wait_delay"], 0))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "health_path": {"type": "str", "default": "/metrics"},
            "ca_file": {"type": "path"},
            "private_addresses": {"type": "bool", "default": False},
            "wait_timeout": {"type": "float", "default": 30},
            "wait_delay": {"type": "float", "default": 3},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        module.exit_json(changed=False, **usable(wanted, 0 if module.check_mode else wanted["wait_timeout"]))
    except OSError as error:
        module.fail_json(msg=f"receiver_ca_file {wanted['ca_file']} can't be read as PEM: {error}.")
    except Fault as fault:
        message = f"AWS cannot use {wanted['url']} as a destination: {fault}."
        if not module.check_mode:
            module.fail_json(msg=message)
        module.warn(message)
        module.exit_json(changed=False, fault=message)


if __name__ == "__main__":
    main()
