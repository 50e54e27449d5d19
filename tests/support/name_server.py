"""A DNS server of a zone that the test makes up."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

Zone = Callable[[dns.message.Message], None]  # fills the response to a query


@contextmanager
def serving(address: str, port: int, zone: Zone) -> Iterator[None]:
    """Answer at an address of this machine, over UDP."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            query = dns.message.from_wire(self.request[0])
            response = dns.message.make_response(query)
            zone(response)
            self.request[1].sendto(response.to_wire(), self.client_address)

    with socketserver.UDPServer((address, port), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def missing(response: dns.message.Message) -> None:
    """The zone's server knows no such name."""
    response.flags |= dns.flags.AA
    response.set_rcode(dns.rcode.NXDOMAIN)
    soa = "ns-1.example.com. host.example.com. 1 7200 900 1209600 86400"
    response.authority = [dns.rrset.from_text("example.com.", 900, "IN", "SOA", soa)]


def has(kind: str, value: str) -> Zone:
    """The zone's server has one record, of any name that it is asked for."""

    def fill(response: dns.message.Message) -> None:
        response.flags |= dns.flags.AA
        response.answer = [dns.rrset.from_text(response.question[0].name, 60, "IN", kind, value)]

    return fill
