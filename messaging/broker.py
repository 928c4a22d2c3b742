"""The broker as one process sees it: a connection to publish on, another to consume on."""

import asyncio
from typing import Self

from messaging.link import Link
from messaging.login import TokenSource


class Broker:
    """Two supervised connections.

    They are two because the broker stops reading a connection that publishes while it is short
    of memory, and closes one that published to a missing exchange: neither may take the
    consumers with it.
    """

    def __init__(self, url: str, *, name: str) -> None:
        """`name`: what the broker's operator sees, usually the client id.

        Raises:
            BrokerUrlError: `url` is not one of a broker.
        """
        self.publishing = Link(url, name=f"{name} publishing")
        self.consuming = Link(url, name=f"{name} consuming")

    @property
    def vhost(self) -> str:
        """The virtual host of both connections."""
        return self.publishing.vhost

    @property
    def connected(self) -> bool:
        return self.publishing.connected and self.consuming.connected

    async def start(self, deadline: float, *, tokens: TokenSource | None = None) -> Self:
        """Connect within `deadline` seconds, and stay connected until `close`.

        tokens: what to log in with, renewed for as long as the connections last; without, it
            is the name and password of the URL.

        Raises:
            BrokerUnreachableError: nobody answers in that time.
            BrokerTokenError: nobody gives us a token in that time.
            BrokerLoginError, VirtualHostError: refused.
        """
        links = (self.publishing, self.consuming)
        results = await asyncio.gather(
            *(link.start(deadline, tokens=tokens) for link in links), return_exceptions=True
        )
        for error in results:
            if isinstance(error, BaseException):
                await self.close(deadline)
                raise error
        return self

    async def close(self, deadline: float) -> None:
        """Close both connections within `deadline` seconds."""
        await asyncio.gather(self.consuming.close(deadline), self.publishing.close(deadline))
