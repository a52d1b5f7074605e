"""Networks of addresses, as `config.yaml` names them and as requests come from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from policy.mistake import quoted
from policy.yaml_nodes import Node, Reading

Network = IPv4Network | IPv6Network

LOOPBACK: tuple[Network, ...] = (IPv4Network("127.0.0.1"), IPv6Network("::1"))


def within(address: IPv4Address | IPv6Address, networks: Iterable[Network]) -> bool:
    """Is the address in one of these networks?"""
    return any(address.version == network.version and address in network for network in networks)


def networks_of(read: Reading, node: Node | None, what: str) -> tuple[Network, ...]:
    """A list of addresses and ranges, `[192.0.2.7, 10.0.0.0/8]`; what is none is noted."""
    found = []
    for item in read.items(node, what):
        written = read.text(item, what, 100)
        try:
            # A range whose address has bits beyond its length is most often a slip: nobody is let in by one.
            found.append(ip_network(written))
        except ValueError:
            read.note(item, f"{what} holds addresses and ranges like 192.0.2.7 and 10.0.0.0/8, not {quoted(written)}")
    return tuple(found)


def networks_by_name(read: Reading, node: Node | None, what: str) -> Mapping[str, tuple[Network, ...]]:
    """Such a list for each of several names; an empty one, which nobody could mean, is noted."""
    found = {}
    for key, value in read.pairs(node, what).items():
        found[key.value] = networks_of(read, value, f"{what}.{key.value}")
        if not read.items(value, what):
            read.note(key, f"{what}.{key.value} is empty: name a range like 192.0.2.0/24, or take the line out")
    return found
