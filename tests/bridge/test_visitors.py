"""Where a request comes from: what a visitor writes into it is not believed."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any
from unittest.mock import Mock

import pytest
from aiohttp import web
from multidict import CIMultiDict

from bridge.arrival.visitors import WINDOW, Attempts, address_of, counted_as
from bridge.networks import LOOPBACK, Network, within

PROXIES: tuple[Network, ...] = (*LOOPBACK, ip_network("10.0.0.0/8"))


def request(remote: str | None, *forwarded: str) -> Any:
    headers = CIMultiDict(("X-Forwarded-For", value) for value in forwarded)
    return Mock(spec=web.Request, remote=remote, headers=headers)


@pytest.mark.parametrize(
    ("remote", "forwarded", "address"),
    [
        ("198.51.100.1", (), "198.51.100.1"),
        ("198.51.100.1", ("192.0.2.7",), "198.51.100.1"),
        ("127.0.0.1", (), "127.0.0.1"),
        ("127.0.0.1", ("192.0.2.7",), "192.0.2.7"),
        ("127.0.0.1", ("192.0.2.7, 198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", ("192.0.2.7", "198.51.100.1"), "198.51.100.1"),
        ("127.0.0.1", ("198.51.100.1, 10.1.2.3",), "198.51.100.1"),
        ("127.0.0.1", ("192.0.2.7, 198.51.100.1, 10.1.2.3, 10.1.2.4",), "198.51.100.1"),
        ("::ffff:127.0.0.1", ("::ffff:192.0.2.7",), "192.0.2.7"),
        ("::1", ("[2001:db8::7]:443",), "2001:db8::7"),
        ("127.0.0.1", ("192.0.2.7:50123",), "192.0.2.7"),
        ("127.0.0.1", ("192.0.2.7, nonsense",), None),
        ("127.0.0.1", ("192.0.2.7, ' OR 1=1",), None),
        (None, ("192.0.2.7",), None),
    ],
)
def test_the_proxies_of_ours_are_believed_and_nobody_before_them(
    remote: str | None, forwarded: tuple[str, ...], address: str | None
) -> None:
    found = address_of(request(remote, *forwarded), PROXIES)

    assert found == (ip_address(address) if address else None)


def test_a_network_holds_its_own_kind_of_address() -> None:
    assert within(ip_address("192.0.2.7"), [ip_network("2001:db8::/32"), ip_network("192.0.2.0/24")])
    assert not within(ip_address("192.0.3.7"), [ip_network("2001:db8::/32"), ip_network("192.0.2.0/24")])
    assert not within(ip_address("192.0.2.7"), [])


def test_a_household_is_counted_as_one_whatever_its_addresses() -> None:
    one, other = counted_as(ip_address("2001:db8:1:2:3::4")), counted_as(ip_address("2001:db8:1:2:9::9"))

    assert one == other != counted_as(ip_address("2001:db8:1:3::4"))
    assert counted_as(ip_address("192.0.2.7")) != counted_as(ip_address("192.0.2.8"))


def test_attempts_are_forgotten_after_a_while_and_counted_for_each() -> None:
    now = 0.0
    attempts = Attempts(lambda: now, most=2)
    for _ in range(2):
        assert attempts.may("one")
        attempts.note("one")

    assert not attempts.may("one")
    assert attempts.may("other")
    now = WINDOW + 1
    assert attempts.may("one")
