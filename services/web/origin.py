"""Where a request comes from: the client's address, as far as it can be believed.

The socket's other end is certain. What a header says of the hops before it is believed only where
that end is a proxy of ours, and only as far back as the addresses are: whatever comes further left
was written by a stranger.
"""

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from starlette.datastructures import Headers

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NEIGHBOURHOOD: Final = 64
"""Bits of an IPv6 address that name whoever uses it; the others are theirs to choose."""

_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110 §5.6.2
_PAIR: Final = re.compile(rf'\s*({_TOKEN})=([^\s;,"]+|"(?:[^"\\]|\\.)*")\s*')
_PORT: Final = r"(?::[0-9]{1,5}|:_[A-Za-z0-9._-]+)?"
_NODE: Final = re.compile(rf"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)){_PORT}")
"""A node with an address (RFC 7239 §6): IPv6 in brackets; others are unknown or hidden."""


def origin_of(peer: str | None, headers: Headers, trusted: Sequence[Network]) -> str | None:
    """The client's address, or an IPv6 client's network; None where there is no address.

    peer: the other end of the socket.   trusted: our proxies.
    """
    near = None if peer is None else _address(peer)
    if near is None:
        return None
    if not _is_in(near, trusted):
        return _said(near)
    told = [
        _client(hops, near, trusted)
        for hops in (_forwarded(headers), _x_forwarded_for(headers))
        if hops is not None
    ]
    # A proxy writes one of the two headers, and may pass the client's own other one on: where
    # both are there and differ, neither is believed.
    return _said(told[0] if told and len(set(told)) == 1 else near)


def _client(hops: list[Address | None], near: Address, trusted: Sequence[Network]) -> Address:
    """The last address that one of our proxies vouches for, from the nearest hop backwards."""
    for hop in reversed(hops):
        if hop is None:
            return near
        near = hop
        if not _is_in(hop, trusted):
            return hop
    return near


def _x_forwarded_for(headers: Headers) -> list[Address | None] | None:
    values = headers.getlist("x-forwarded-for")
    if not values:
        return None
    hops = (hop.strip() for hop in ",".join(values).split(","))
    return [_address(hop) or _node(hop) for hop in hops]  # some write the port too


def _forwarded(headers: Headers) -> list[Address | None] | None:
    """The nodes of `Forwarded` (RFC 7239 §4), one for each element."""
    values = headers.getlist("forwarded")
    if not values:
        return None
    text = ",".join(values)
    hops: list[Address | None] = []
    node = ""
    at = 0
    while at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None:
            return [None]  # it cannot be read, so no end of an element can be believed
        name, value = pair.group(1).lower(), pair.group(2)
        if name == "for":
            node = _unquoted(value)
        at = pair.end()
        if at == len(text) or text[at] == ",":
            hops.append(_node(node))
            node = ""
        elif text[at] != ";":
            return [None]
        at += 1
    return hops


def _unquoted(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _node(value: str) -> Address | None:
    found = _NODE.fullmatch(value)
    return None if found is None else _address(found.group(1) or found.group(2))


def _address(text: str) -> Address | None:
    """The address, an IPv4 one as itself where it comes in IPv6's form."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _said(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((address, NEIGHBOURHOOD), strict=False))
