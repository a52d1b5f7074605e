"""Where a request comes from, whether somebody may accept from there (INV-13), and how often they have tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from aiohttp import web

from bridge.networks import Network, within
from policy.model import Moment

WINDOW = 300.0
"""Seconds for which attempts are counted."""

MOST_ADDRESSES = 10_000
HOUSE = 64
"""Bits of an IPv6 address that are one household's: counting whole addresses would count nothing."""

Address = IPv4Address | IPv6Address


def address_of(request: web.Request, proxies: Sequence[Network]) -> Address | None:
    """Who asks: the other end of the connection, or whom the trusted proxies in between say they ask for.

    A header of `X-Forwarded-For` is believed from right to left, for as long as what stands there is a proxy of ours:
    what is left of that was written by the visitor. None where a proxy of ours names nobody.
    """
    said = ",".join(request.headers.getall("X-Forwarded-For", ()))
    chain = [request.remote or "", *reversed([name for name in said.split(",") if name.strip()])]
    address = None
    for name in chain:
        address = _read(name)
        if address is None or not within(address, proxies):
            break
    return address


def _read(name: str) -> Address | None:
    """An address as proxies write it, some with a port."""
    plain = name.strip().strip('"')
    if plain.startswith("["):
        plain = plain[1:].partition("]")[0]
    elif plain.count(":") == 1:
        plain = plain.partition(":")[0]
    try:
        address = ip_address(plain.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def counted_as(address: Address | None) -> str:
    """Under which name attempts from an address are counted."""
    if isinstance(address, IPv6Address):
        return f"{address.packed[: HOUSE // 8].hex()}/{HOUSE}"
    return str(address)


class Attempts:
    """Counts what somebody did lately, for many at once, in little memory."""

    def __init__(self, clock: Callable[[], Moment], most: int) -> None:
        self._clock = clock
        self._most = most
        self._times: dict[str, list[Moment]] = {}

    def may(self, who: str) -> bool:
        """May they try once more?"""
        return len(self._lately(who)) < self._most

    def note(self, who: str) -> None:
        """Once more."""
        if len(self._times) >= MOST_ADDRESSES and who not in self._times:
            self._times = {one: self._lately(one) for one in self._times if self._lately(one)}
            if len(self._times) >= MOST_ADDRESSES:
                self._times.clear()
        self._times[who] = [*self._lately(who), self._clock()][-self._most :]

    def _lately(self, who: str) -> list[Moment]:
        since = self._clock() - WINDOW
        return [moment for moment in self._times.get(who, ()) if moment > since]
