"""Where a request comes from: whose word about it is believed, and how far back."""

from ipaddress import ip_network

import pytest
from starlette.datastructures import Headers

from services.web.origin import origin_of

CLIENT = "203.0.113.9"
FORGED = "198.51.100.1"
PROXY = "10.0.0.7"
FAR_PROXY = "10.0.1.1"
TRUSTED = (ip_network("10.0.0.0/16"), ip_network("2001:db8:1::/48"))

FORWARDED = "Forwarded"
FOR = "X-Forwarded-For"

Fields = tuple[tuple[str, str], ...]


def told(peer: str | None, *fields: tuple[str, str]) -> str | None:
    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields]
    return origin_of(peer, Headers(raw=raw), TRUSTED)


@pytest.mark.parametrize("header", [FORWARDED, FOR])
def test_a_stranger_is_not_asked_where_it_comes_from(header: str) -> None:
    forged = f"for={FORGED}" if header == FORWARDED else FORGED

    assert told(CLIENT, (header, forged)) == CLIENT
    assert origin_of(PROXY, Headers({header: forged}), ()) == PROXY


@pytest.mark.parametrize(
    "fields",
    [
        ((FOR, CLIENT),),
        ((FOR, f"{FORGED}, {CLIENT}"),),
        ((FOR, f"{FORGED}, {CLIENT}, {FAR_PROXY}"),),
        ((FOR, FORGED), (FOR, f"{CLIENT},{FAR_PROXY}")),
        ((FOR, f"{CLIENT}:41000"),),
        ((FOR, f"::ffff:{CLIENT}"),),
        ((FOR, f"unknown, {CLIENT}"),),
        ((FORWARDED, f"for={CLIENT}"),),
        ((FORWARDED, f"For={CLIENT};proto=https;by={PROXY}"),),
        ((FORWARDED, f'for="{CLIENT}:41000"'),),
        ((FORWARDED, f"for={FORGED}, for={CLIENT};host=shop.example, for={FAR_PROXY}"),),
        ((FORWARDED, f"for={FORGED}"), (FORWARDED, f"for={CLIENT}")),
        ((FORWARDED, f'host="a,for={FORGED}";for={CLIENT}'),),
        ((FORWARDED, f'for=unknown, for="_hidden", for={CLIENT}'),),
        ((FORWARDED, f"for={CLIENT}"), (FOR, CLIENT)),
    ],
)
def test_our_proxies_are_believed_up_to_the_first_stranger(fields: Fields) -> None:
    assert told(PROXY, *fields) == CLIENT


@pytest.mark.parametrize(
    ("fields", "origin"),
    [
        ((), PROXY),
        (((FOR, ""),), PROXY),
        (((FOR, f"{CLIENT}, somewhere"),), PROXY),
        (((FOR, f"{CLIENT}, unknown, {FAR_PROXY}"),), FAR_PROXY),
        (((FOR, f"{FAR_PROXY}, 10.0.2.2"),), FAR_PROXY),
        (((FORWARDED, ""),), PROXY),
        (((FORWARDED, f"for={CLIENT}, for=unknown"),), PROXY),
        (((FORWARDED, "proto=https"),), PROXY),
        (((FORWARDED, f"for={CLIENT} for={FORGED}"),), PROXY),
        (((FORWARDED, f'for={CLIENT};host="never closed'),), PROXY),
        (((FORWARDED, 'for="[203.0.113.9]x"'),), PROXY),
        (((FORWARDED, "for=203.0.113.999"),), PROXY),
        (((FORWARDED, '\x00=";'),), PROXY),
    ],
)
def test_where_no_address_is_told_it_is_the_last_one_that_is_known(
    fields: Fields, origin: str
) -> None:
    assert told(PROXY, *fields) == origin


def test_two_headers_that_differ_are_both_not_believed() -> None:
    """A proxy writes one of them, and may pass on what a client has put into the other one."""
    fields = ((FOR, CLIENT), (FORWARDED, f"for={FORGED}"))

    assert told(PROXY, *fields) == PROXY


@pytest.mark.parametrize(
    ("peer", "fields"),
    [
        ("2001:db8:2:3:4:5:6:7", ()),
        ("2001:db8:2:3::1%eth0", ()),
        ("2001:db8:1::7", ((FOR, "2001:db8:2:3:4:5:6:7"),)),
        (PROXY, ((FORWARDED, 'for="[2001:db8:2:3::1]:41000"'),)),
        (PROXY, ((FORWARDED, 'for="[2001:DB8:2:3::1]"'),)),
    ],
)
def test_a_client_with_an_ipv6_network_is_one_client(peer: str, fields: Fields) -> None:
    """Whoever has one such address has all of its network to choose from."""
    assert told(peer, *fields) == "2001:db8:2:3::/64"


@pytest.mark.parametrize("peer", [None, "", "/run/gateway.sock"])
def test_without_an_address_nothing_is_told(peer: str | None) -> None:
    assert told(peer, (FOR, FORGED)) is None
