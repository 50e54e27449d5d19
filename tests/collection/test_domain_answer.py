"""A domain's own name servers are asked, down the delegations, and no resolver that would keep that it is missing."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stdout
from io import StringIO
from typing import Any

import dns.flags
import dns.message
import dns.resolver
import dns.rrset
import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.iotweb.deployment.plugins.modules import domain_answer

from tests.support.name_server import Zone, has, missing, serving
from tests.support.ports import free_port

Serve = Callable[[str, Zone], None]


DELEGATED = ["ns-0.elsewhere.test", "ns-1.elsewhere.test"]


def refers_to(*servers: str) -> Zone:
    """A server of com that has delegated example.com to servers at these addresses."""

    def fill(response: dns.message.Message) -> None:
        assert not response.flags & dns.flags.RD, "the query asks a server to ask others"
        names = [f"ns-{number}.elsewhere.test." for number in range(len(servers))]
        response.authority = [dns.rrset.from_text_list("example.com.", 172800, "IN", "NS", names)]
        response.additional = [
            dns.rrset.from_text(name, 60, "IN", "A", address) for name, address in zip(names, servers, strict=True)
        ]

    return fill


@pytest.fixture(name="port")
def _port() -> int:
    return free_port()


@pytest.fixture(name="serve")
def _serve(port: int) -> Iterator[Serve]:
    """Answer at an address of this machine."""
    with ExitStack() as running:
        yield lambda address, zone: running.enter_context(serving(address, port, zone))


@pytest.fixture(name="look")
def _look(port: int) -> Callable[[], dict[str, Any]]:
    def run() -> dict[str, Any]:
        printed = StringIO()
        arguments = {"name": "ingest.example.com", "name_servers": [f"127.0.0.2:{port}"]}
        with patch_module_args(arguments), redirect_stdout(printed), pytest.raises(SystemExit):
            domain_answer.main()
        result: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
        return {key: result[key] for key in ("answered", "known", "reachable", "reason", "delegated_to", "changed")}

    return run


@pytest.mark.parametrize("record", [("A", "192.0.2.1"), ("CNAME", "lb.us-east-2.elb.amazonaws.com.")])
def test_a_record_is_found_down_the_delegations(
    serve: Serve, look: Callable[[], dict[str, Any]], record: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns.resolver, "resolve", lambda *_, **__: pytest.fail("a resolver was asked"))
    serve("127.0.0.2", refers_to("127.0.0.3", "127.0.0.4"))
    serve("127.0.0.3", has(*record))
    serve("127.0.0.4", has(*record))
    expected = {"answered": True, "known": True, "reachable": True, "reason": "", "delegated_to": DELEGATED}
    assert look() == expected | {"changed": False}


def test_a_record_that_one_server_lacks_is_not_there_yet(serve: Serve, look: Callable[[], dict[str, Any]]) -> None:
    serve("127.0.0.2", refers_to("127.0.0.3", "127.0.0.4"))
    serve("127.0.0.3", has("A", "192.0.2.1"))
    serve("127.0.0.4", missing)
    found = look()
    assert (found["answered"], found["known"], found["reachable"]) == (False, True, True)
    assert found["reason"] == (
        "there is no record of ingest.example.com yet: ns-1.elsewhere.test. (127.0.0.4) answers NXDOMAIN"
    )


def test_a_zone_that_is_not_delegated_is_named_by_who_lacks_it(
    serve: Serve, look: Callable[[], dict[str, Any]]
) -> None:
    serve("127.0.0.2", missing)
    found = look()
    assert not found["known"]
    assert found["reason"].endswith("yet: 127.0.0.2 answers NXDOMAIN")
    assert found["delegated_to"] == []


def test_servers_without_an_address_are_named_and_count_as_unreachable(
    serve: Serve, look: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refer(response: dns.message.Message) -> None:
        refers_to("127.0.0.3", "127.0.0.4")(response)
        response.additional = []

    monkeypatch.setattr(domain_answer, "addresses", lambda _: iter(()))
    serve("127.0.0.2", refer)
    found = look()
    assert (found["reachable"], found["delegated_to"]) == (False, DELEGATED)


def test_a_network_that_lets_nobody_ask_is_told_apart(look: Callable[[], dict[str, Any]]) -> None:
    found = look()
    assert (found["answered"], found["reachable"]) == (False, False)
    assert "no server that has ingest.example.com could be asked" in found["reason"]


def test_delegations_that_lead_in_a_circle_end(serve: Serve, look: Callable[[], dict[str, Any]]) -> None:
    serve("127.0.0.2", refers_to("127.0.0.2"))
    assert look()["reason"] == "the delegations of ingest.example.com do not end"


def test_the_search_begins_at_the_top_level_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which any resolver may keep: the name itself is asked of its own servers only."""
    asked: list[tuple[str, str]] = []

    def resolve(name: str, kind: str, **_: Any) -> Any:
        asked.append((name, kind))
        return dns.rrset.from_text("com.", 60, "IN", "NS", "localhost.")

    monkeypatch.setattr(dns.resolver, "resolve", resolve)
    monkeypatch.setattr(domain_answer, "addresses", lambda name: [domain_answer.Server(name, "127.0.0.2")])
    assert domain_answer.of_top_level("ingest.example.com") == [domain_answer.Server("localhost.", "127.0.0.2")]
    assert asked == [("com.", "NS")]
