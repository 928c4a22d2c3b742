"""Pseudonyms: what the database keeps of names and addresses that it must only recognise.

HMAC-SHA-256 under a secret that was made with the database. It keeps them out of exports and
views; who reads the whole database can still try all addresses that there are.
"""

import hashlib
import hmac
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from services.users.store import Secret

_SECRET: Final = "origins"  # noqa: S105 - a row's name
_SITE: Final = 64
"""Bits of an IPv6 address that are one subscriber's; the others are theirs to change."""


class Pseudonyms:
    """Makes pseudonyms in one database; share one per process."""

    def __init__(self) -> None:
        self._secret: bytes | None = None

    async def of(self, work: AsyncSession, *parts: str) -> str:
        """64 hexadecimal digits for these parts in this order."""
        if self._secret is None:
            stored = await work.scalar(select(Secret.value).where(Secret.name == _SECRET))
            if stored is None:
                raise LookupError("the database has no secret; was it migrated?")
            self._secret = bytes.fromhex(stored)
        state = hmac.new(self._secret, digestmod=hashlib.sha256)
        for part in parts:
            data = part.encode(errors="surrogatepass")
            state.update(len(data).to_bytes(4, "big") + data)
        return state.hexdigest()

    async def of_origin(self, work: AsyncSession, origin: str | None) -> str | None:
        """The pseudonym of where a request came from, where that is known."""
        return None if origin is None else await self.of(work, "origin", site(origin))


def site(origin: str) -> str:
    """What counts as one place: an IPv4 address, an IPv6 network of 64 bits, any other text."""
    try:
        address = ip_address(origin.strip().partition("%")[0])
    except ValueError:
        return origin
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, _SITE), strict=False))
