"""Nodes and host reach each other, and half a network is completed."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.machine.conftest import Run

ARGUMENTS: dict[str, Any] = {
    "namespace": "network-test",
    "link": "networktest0",
    "host_addresses": ["10.213.250.1", "10.213.250.10"],
    "nodes": [
        {"name": "node-1", "address": "10.213.250.2", "pod_range": "10.213.251.0/25"},
        {"name": "node-2", "address": "10.213.250.3", "pod_range": "10.213.251.128/25"},
    ],
    "service_range": "10.213.252.0/24",
}


def ip(*arguments: str) -> str:
    """What `ip` prints."""
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False).stdout


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """Names of this test's own, gone before and after."""

    def clean() -> None:
        ip("link", "delete", "networktest0")
        for name in ("network-test", "network-test.node-2", "network-test.edge-1"):
            ip("netns", "delete", name)

    clean()
    yield
    clean()


def connects(source: str, address: str) -> bool:
    """Whether a namespace (empty: the host) reaches an address: a closed port answers, an unknown host doesn't."""
    program = (
        f"import socket; s = socket.socket(); s.settimeout(2); raise SystemExit(s.connect_ex(({address!r}, 9)) != 111)"
    )
    enter = ["nsenter", f"--net=/run/netns/{source}"] if source else []
    return subprocess.run([*enter, "python3", "-c", program], check=False).returncode == 0


def test_host_and_nodes_reach_each_other_but_nothing_else(module: Run) -> None:
    result = module("sandbox_network", **ARGUMENTS)
    assert "failed" not in result, result
    assert connects("", "10.213.250.2")
    assert connects("", "10.213.250.3")
    assert connects("network-test", "10.213.250.10")
    assert connects("network-test.node-2", "10.213.250.1")
    assert connects("network-test.node-2", "10.213.250.2")
    for space in ("network-test", "network-test.node-2"):
        assert "default" not in ip("-n", space, "route")
    assert "10.213.251.128/25 via 10.213.250.3 dev networktest0" in ip("route")
    assert module("sandbox_network", **ARGUMENTS)["made"] == []


@pytest.mark.parametrize("nodes", [ARGUMENTS["nodes"], []], ids=["nodes", "no nodes"])
def test_a_host_that_is_no_node_is_on_the_segment(module: Run, nodes: list[dict[str, str]]) -> None:
    arguments = ARGUMENTS | {"nodes": nodes, "hosts": [{"name": "edge-1", "address": "10.213.250.21"}]}
    assert "failed" not in module("sandbox_network", **arguments)
    assert connects("", "10.213.250.21")
    assert connects("network-test.edge-1", "10.213.250.1")
    assert "default" not in ip("-n", "network-test.edge-1", "route")
    assert module("sandbox_network", **arguments)["made"] == []


@pytest.mark.parametrize(
    "damage",
    [
        ("link", "delete", "networktest0"),
        ("netns", "delete", "network-test.node-2"),
        ("route", "delete", "10.213.252.0/24"),
        ("-n", "network-test", "link", "set", "segment", "down"),
        ("address", "delete", "10.213.250.10/24", "dev", "networktest0"),
    ],
    ids=" ".join,
)
def test_half_a_network_is_completed(module: Run, damage: tuple[str, ...]) -> None:
    module("sandbox_network", **ARGUMENTS)
    ip(*damage)
    would = module("sandbox_network", check=True, **ARGUMENTS)["made"]
    assert would
    assert module("sandbox_network", **ARGUMENTS)["made"]
    assert connects("", "10.213.250.3")
    assert module("sandbox_network", **ARGUMENTS)["made"] == []


def test_without_nodes_the_host_has_its_addresses(module: Run) -> None:
    module("sandbox_network", **{**ARGUMENTS, "nodes": []})
    assert "10.213.250.10/24" in ip("address", "show", "networktest0")
    assert module("sandbox_network", **{**ARGUMENTS, "nodes": []})["made"] == []
