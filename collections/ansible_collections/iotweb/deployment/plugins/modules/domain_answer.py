#!/usr/bin/python
# Copyright: IoT receiver contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
---
module: domain_answer
version_added: 2.0.0
short_description: Ask a domain's own name servers whether they have its record
description:
  - Follows the delegations from the top-level domain down to the servers of the domain's zone, and asks each of them.
  - No resolver is asked for the name. One that is asked too early keeps for up to hours that there is no such name
    (RFC 2308), 15 minutes for a zone of Route 53.
author:
  - IoT receiver contributors (@iotweb)
options:
  name:
    description: The domain.
    type: str
    required: true
  name_servers:
    description: Addresses of servers to begin with, with C(:port) unless it is 53. Empty for the top-level domain's.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - iotweb.aws_iot.attributes.info
requirements:
  - dnspython
"""

EXAMPLES = r"""
- name: Wait until the domain's name servers have its record
  iotweb.deployment.domain_answer:
    name: ingest.example.com
  register: found
  until: found.answered or not found.reachable
  retries: 240
  delay: 5
"""

RETURN = r"""
answered:
  description: Whether each server that could be asked has an A or a CNAME record of the name.
  type: bool
  returned: always
known:
  description: Whether any of them has one.
  type: bool
  returned: always
reachable:
  description: Whether a server of the zone could be asked. Some networks let nobody but their own resolver ask.
  type: bool
  returned: always
reason:
  description: What was found otherwise.
  type: str
  returned: always
delegated_to:
  description: Names of the servers that the last delegation names, without the dot at the end; empty if there was none.
  type: list
  elements: str
  returned: always
"""

import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    import dns.exception
    import dns.flags
    import dns.message
    import dns.query
    import dns.rcode
    import dns.rdatatype
    import dns.resolver
except ImportError as missing:
    IMPORT_ERROR: ImportError | None = missing
else:
    IMPORT_ERROR = None

STEP_S = 2  # for each answer
SERVERS = 4  # of a zone that are asked
DEPTH = 10  # delegations that are followed


@dataclass(frozen=True)
class Server:
    """A name server, by the name it is shown under."""

    name: str
    address: str
    port: int = 53

    def __str__(self) -> str:
        return self.address if self.name.startswith(self.address) else f"{self.name} ({self.address})"


@dataclass
class Found:
    """What the servers of the domain's zone answer; `reason` says why it is not `answered`."""

    answered: bool
    reachable: bool
    reason: str = ""
    delegated_to: list[str] = field(default_factory=list)
    known: bool = False


def given(server: str) -> Server:
    """A server by `address` or `address:port`."""
    address, _colon, port = server.partition(":")
    return Server(server, address, int(port or 53))


def addresses(name: str) -> Iterator[Server]:
    """The IPv4 addresses of a name server."""
    try:
        entries = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_DGRAM)
    except OSError:
        return
    yield from (Server(name, str(entry[4][0])) for entry in entries)


def of_top_level(name: str) -> list[Server]:
    """The servers of the name's top-level domain, which any resolver may keep."""
    top = f"{name.rstrip('.').rpartition('.')[2]}."
    try:
        answer = dns.resolver.resolve(top, "NS", lifetime=2 * STEP_S)
    except dns.exception.DNSException:
        return []
    return [server for one in sorted(answer)[:SERVERS] for server in addresses(one.target.to_text())]


def ask(server: Server, name: str) -> dns.message.Message | None:
    """What a server answers; None if it does not."""
    query = dns.message.make_query(name, "A")
    query.flags &= ~dns.flags.RD
    try:
        return dns.query.udp_with_fallback(query, server.address, STEP_S, server.port)[0]
    except (dns.exception.DNSException, OSError):
        return None


def referral(answer: dns.message.Message, port: int) -> dict[str, list[Server]]:
    """The servers that an answer refers to by name, at the addresses that it adds where it does."""
    if answer.answer:
        return {}
    glue = {rrset.name: rrset for rrset in answer.additional if rrset.rdtype == dns.rdatatype.A}
    names = [one.target for rrset in answer.authority if rrset.rdtype == dns.rdatatype.NS for one in rrset]
    return {
        name.to_text(omit_final_dot=True).lower(): [Server(name.to_text(), one.address, port) for one in glue[name]]
        if name in glue else list(addresses(name.to_text()))
        for name in names
    }  # fmt: skip


def look(name: str, servers: list[Server]) -> Found:
    """Follow the delegations, and ask each server of the zone that they end in."""
    names: list[str] = []
    for _depth in range(DEPTH):
        answers = [(server, answer) for server in servers[:SERVERS] if (answer := ask(server, name)) is not None]
        if not answers:
            return Found(False, False, f"no server that has {name} could be asked (UDP and TCP port 53)", names)
        referred = {one: at for server, answer in answers for one, at in referral(answer, server.port).items()}
        if not referred:
            without = [(server, answer) for server, answer in answers if not answer.answer]
            reason = ", ".join(f"{server} answers {dns.rcode.to_text(answer.rcode())}" for server, answer in without)
            missing = f"there is no record of {name} yet: {reason}" if without else ""
            return Found(not without, True, missing, names, len(without) < len(answers))
        names, servers = sorted(referred), list(dict.fromkeys(one for at in referred.values() for one in at))
    return Found(False, False, f"the delegations of {name} do not end", names)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "name_servers": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("dnspython"), exception=str(IMPORT_ERROR))
    name = module.params["name"]
    found = look(name, [given(one) for one in module.params["name_servers"]] or of_top_level(name))
    module.exit_json(changed=False, **asdict(found))


if __name__ == "__main__":
    main()
