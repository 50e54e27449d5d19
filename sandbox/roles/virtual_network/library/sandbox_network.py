"""Ansible module: the sandbox's network, one namespace a node."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: sandbox_network
short_description: Network namespaces of the sandbox's nodes
description:
  - One network namespace a node, all on one Ethernet segment with the host, none with a default route.
  - The segment's bridge lies in the first node's namespace, where the host's firewall rules for bridges
    (such as Docker's) don't reach.
  - Without nodes, the host's link has its addresses and leads nowhere.
  - Compares what is there with what should be and makes only the difference, so half a network is completed.
author: IoT receiver contributors (@iotweb)
options:
  namespace:
    description: Namespace of the first node; each other's is <namespace>.<node>.
    type: str
    required: true
  link: {description: The host's end of the segment., type: str, required: true}
  host_addresses: {description: The host's addresses., type: list, elements: str, required: true}
  prefix: {description: Length of the segment's prefix., type: int, default: 24}
  nodes: {description: "Nodes (name, address, pod_range).", type: list, elements: dict, required: true}
  hosts:
    description: Hosts (name, address) that are on the segment and no nodes; each has the namespace <namespace>.<host>.
    type: list
    elements: dict
    default: []
  service_range: {description: Range of the cluster's Services., type: str, required: true}
"""
EXAMPLES = """
- name: Nodes are connected
  sandbox_network:
    namespace: iot-sandbox
    link: iot-sandbox0
    host_addresses: [10.213.0.1]
    nodes: [{name: node-1, address: 10.213.0.2, pod_range: 10.244.0.0/24}]
    service_range: 10.96.0.0/16
"""
RETURN = """
made: {description: The commands that were needed., type: list, elements: str, returned: always}
"""

BRIDGE = "segment"
SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    # the first node's firewall must not see what passes its bridge to others
    "net/bridge/bridge-nf-call-iptables": "0",
}


class Network:
    """Makes what is missing; with check, only lists it."""

    def __init__(self, check: bool) -> None:
        self.check = check
        self.made: list[str] = []

    def make(self, *command: str) -> None:
        """Run a command that changes the machine. Raises RuntimeError with its words if it fails."""
        self.made.append(" ".join(command))
        if not self.check:
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")

    def namespace(self, name: str) -> None:
        """A namespace that lets go of the half-made one an interrupted `ip netns add` leaves."""
        path = Path("/run/netns", name)
        if (
            path.exists()
            and subprocess.run(
                ["nsenter", f"--net={path}", "true"], check=False, capture_output=True
            ).returncode
        ):
            self.made.append(f"unlink {path}")
            if not self.check:
                path.unlink()
        if not path.exists():
            self.make("ip", "netns", "add", name)
        self.up(name, "lo")

    def link_exists(self, space: str, name: str) -> bool:
        """True if a link is in a namespace (empty: the host's)."""
        return any(link["ifname"] == name for link in show(space, "link"))

    def pair(self, space: str, name: str, peer_space: str, peer: str) -> None:
        """Two ends of a cable between namespaces; half of one can't be, the kernel makes and deletes both."""
        if self.link_exists(space, name):
            return
        at = ("-n", space) if space else ()
        self.make("ip", *at, "link", "add", name, "type", "veth", "peer", "name", peer, "netns", peer_space)

    def up(self, space: str, name: str) -> None:
        """A link is switched on."""
        if not any(link["ifname"] == name and "UP" in link["flags"] for link in show(space, "link")):
            self.make("ip", *(("-n", space) if space else ()), "link", "set", name, "up")

    def plugged(self, space: str, bridge: str, name: str) -> None:
        """A cable's end is in the bridge."""
        links: list[dict[str, Any]] = [link for link in show(space, "link") if link["ifname"] == name]
        if not links or links[0].get("master") != bridge:
            self.make("ip", *(("-n", space) if space else ()), "link", "set", name, "master", bridge)
        self.up(space, name)

    def address(self, space: str, name: str, address: str) -> None:
        """A link has an address with its prefix length."""
        there = {
            f"{each['local']}/{each['prefixlen']}"
            for link in show(space, "address")
            if link["ifname"] == name
            for each in link["addr_info"]
        }
        if address not in there:
            self.make("ip", *(("-n", space) if space else ()), "address", "add", address, "dev", name)

    def route(self, space: str, target: str, name: str, via: str = "") -> None:
        """A range is reached over a link, by a router or directly."""
        for route in show(space, "route"):
            if (route["dst"], route.get("dev"), route.get("gateway", "")) == (target, name, via):
                return
        by = ("via", via) if via else ()
        self.make("ip", *(("-n", space) if space else ()), "route", "replace", target, *by, "dev", name)

    def sysctl(self, space: str, key: str, value: str) -> None:
        """A setting of a namespace; one that its kernel does not have needs no setting."""
        enter = ("nsenter", f"--net=/run/netns/{space}")
        done = subprocess.run(
            [*enter, "cat", f"/proc/sys/{key}"], check=False, capture_output=True, text=True
        )
        if (self.check and done.returncode) or (not done.returncode and done.stdout.strip() != value):
            self.make(*enter, "sh", "-c", f"echo {value} > /proc/sys/{key}")


def show(space: str, what: str) -> list[dict[str, Any]]:
    """What `ip` shows of a namespace; nothing of one that isn't there."""
    done = subprocess.run(
        ["ip", "-j", *(("-n", space) if space else ()), "-4" if what == "route" else "-d", what, "show"],
        check=False,
        capture_output=True,
        text=True,
    )
    return (
        cast("list[dict[str, Any]]", json.loads(done.stdout))
        if done.returncode == 0 and done.stdout.strip()
        else []
    )


def spaces(arguments: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Namespace, link and description of each node."""
    first = arguments["namespace"]
    for index, node in enumerate(arguments["nodes"]):
        yield (f"{first}.{node['name']}" if index else first), ("eth0" if index else BRIDGE), node


def apply(network: Network, arguments: dict[str, Any]) -> None:
    """Namespaces, segment, addresses, routes."""
    first, link, prefix = arguments["namespace"], arguments["link"], arguments["prefix"]
    for space, device, node in spaces(arguments):
        network.namespace(space)
        for key, value in SYSCTLS.items():
            network.sysctl(space, key, value)
        if device == BRIDGE:
            if not network.link_exists(space, BRIDGE):
                network.make("ip", "-n", space, "link", "add", BRIDGE, "type", "bridge")
            network.pair("", link, space, "host")
            network.plugged(space, BRIDGE, "host")
        else:
            network.pair(first, node["name"], space, device)
            network.plugged(first, BRIDGE, node["name"])
        network.up(space, device)
        network.address(space, device, f"{node['address']}/{prefix}")
    if not arguments["nodes"] and not network.link_exists("", link):
        network.make("ip", "link", "add", link, "type", "bridge")
    network.up("", link)
    for address in arguments["host_addresses"]:
        network.address("", link, f"{address}/{prefix}")
    bridge = (first, BRIDGE) if arguments["nodes"] else ("", link)
    for host in arguments["hosts"]:
        space = f"{first}.{host['name']}"
        network.namespace(space)
        network.pair(bridge[0], host["name"], space, "eth0")
        network.plugged(*bridge, host["name"])
        network.up(space, "eth0")
        network.address(space, "eth0", f"{host['address']}/{prefix}")
    if not arguments["nodes"]:
        return
    # The host has no kube-proxy: the first node carries what it sends to Services.
    network.route("", arguments["service_range"], link, arguments["nodes"][0]["address"])
    for space, device, node in spaces(arguments):
        network.route("", node["pod_range"], link, node["address"])
        # Without a default route, only this lets a node's own processes reach Services: the API server its
        # webhooks.
        network.route(space, arguments["service_range"], device)
        for other in arguments["nodes"]:
            if other is not node:
                network.route(space, other["pod_range"], device, other["address"])


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "namespace": {"type": "str", "required": True},
            "link": {"type": "str", "required": True},
            "host_addresses": {"type": "list", "elements": "str", "required": True},
            "prefix": {"type": "int", "default": 24},
            "nodes": {"type": "list", "elements": "dict", "required": True},
            "hosts": {"type": "list", "elements": "dict", "default": []},
            "service_range": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    os.environ["PATH"] = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    network = Network(module.check_mode)
    try:
        apply(network, module.params)
    except (RuntimeError, OSError) as error:
        module.fail_json(msg=str(error), made=network.made)
    lines = "".join(f"+{line}\n" for line in network.made)
    module.exit_json(changed=bool(network.made), made=network.made, diff={"prepared": lines})


if __name__ == "__main__":
    main()
