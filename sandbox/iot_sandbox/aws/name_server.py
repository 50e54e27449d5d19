"""The name servers of the hosted zones: they have a change once it is INSYNC, and say how long a name stays missing.

A resolver keeps that a name does not exist for the smaller of the SOA's TTL and its minimum, 900 s in Route 53:
https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/SOA-NSrecords.html, RFC 2308.
Left out: records with `*`, delegations to other servers, and routing policies.
"""

from __future__ import annotations

import contextlib
import socketserver
from collections.abc import Iterator
from threading import Thread
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.SOA import SOA
from moto.elbv2.models import elbv2_backends
from moto.route53.models import FakeZone, RecordSet, route53_backends

from iot_sandbox.aws import settings
from iot_sandbox.aws.route53 import SandboxRoute53Backend

UDP_SIZE = 1232  # bytes of an answer that is not truncated
ALIAS_TTL = 60  # of an alias to a load balancer, in seconds
CHAIN = 8  # CNAMEs that are followed


def zone_of(name: dns.name.Name) -> tuple[dns.name.Name, list[RecordSet]] | None:
    """The public zone that holds a name, the first that was made, with the records that its servers have."""
    found: dict[dns.name.Name, tuple[SandboxRoute53Backend, FakeZone]] = {}
    for backend in [backend for account in list(route53_backends.values()) for backend in account.values()]:
        for zone in list(backend.zones.values()):
            origin = dns.name.from_text(zone.name)
            if not zone.private_zone and name.is_subdomain(origin) and isinstance(backend, SandboxRoute53Backend):
                found.setdefault(origin, (backend, zone))
    if not found:
        return None
    origin = max(found, key=len)
    backend, zone = found[origin]
    return origin, backend.served(zone)


def load_balancer(name: str) -> bool:
    """Whether there is a load balancer of this DNS name."""
    wanted = name.rstrip(".").removeprefix("dualstack.")
    backends = [backend for account in list(elbv2_backends.values()) for backend in account.values()]
    return any(one.dns_name == wanted for backend in backends for one in list(backend.load_balancers.values()))


def rrset(record: RecordSet) -> dns.rrset.RRset | None:
    """A record as DNS has it; None for an alias that leads nowhere."""
    ttl, values = record.ttl, [v["Value"] if isinstance(v, dict) else str(v) for v in record.records or []]
    if record.alias_target:
        if record.type != "A" or not load_balancer(record.alias_target["DNSName"]):
            return None
        ttl, values = ALIAS_TTL, [settings.current().load_balancer_address]
    name, kind, seconds = dns.name.from_text(record.name), str(record.type), int(ttl or 0)
    return dns.rrset.from_text_list(name, seconds, "IN", kind, values, origin=dns.name.root, relativize=False)


def answers(records: list[RecordSet], name: dns.name.Name, kind: dns.rdatatype.RdataType) -> Iterator[dns.rrset.RRset]:
    """The records of a name and type, after the CNAMEs that lead to them within the zone."""
    for _ in range(CHAIN):
        found = [rrset(one) for one in records if dns.name.from_text(one.name) == name]
        here = [one for one in found if one is not None]
        yield from (one for one in here if one.rdtype == kind)
        aliases = [one for one in here if one.rdtype == dns.rdatatype.CNAME != kind]
        if not aliases:
            return
        yield aliases[0]
        name = aliases[0][0].target


def respond(query: dns.message.Message) -> dns.message.Message:
    """The answer to a query."""
    response = dns.message.make_response(query)
    name, kind = query.question[0].name, query.question[0].rdtype
    found = zone_of(name)
    if found is None:
        response.set_rcode(dns.rcode.REFUSED)
        return response
    origin, records = found
    response.flags |= dns.flags.AA
    response.answer = list(answers(records, name, kind))
    if not response.answer:
        soa = next(answers(records, origin, dns.rdatatype.SOA))
        assert isinstance(soa[0], SOA)  # noqa: S101 - asked for by its type
        soa.update_ttl(min(soa.ttl, soa[0].minimum))
        response.authority = [soa]
        if not any(dns.name.from_text(one.name).is_subdomain(name) for one in records):
            response.set_rcode(dns.rcode.NXDOMAIN)
    return response


class _Datagram(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sender = self.request
        with contextlib.suppress(dns.exception.DNSException, IndexError):
            response = respond(dns.message.from_wire(data))
            sender.sendto(response.to_wire(max_size=UDP_SIZE, prefer_truncation=True), self.client_address)


class _Connection(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(dns.exception.DNSException, IndexError, EOFError):
            query, _ = dns.query.receive_tcp(self.request)
            dns.query.send_tcp(self.request, respond(query))


class _TCPServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def start(address: str, port: int) -> None:
    """Answer over UDP and TCP in the background. Raises OSError for a port that is taken."""
    servers: list[Any] = [
        socketserver.ThreadingUDPServer((address, port), _Datagram),
        _TCPServer((address, port), _Connection),
    ]
    for server in servers:
        Thread(target=server.serve_forever, daemon=True).start()
